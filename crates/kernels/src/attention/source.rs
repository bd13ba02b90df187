//! Where keys and values of a head are read: in place, or next to each other. In place, rows of a head are a power of two times a cache line apart at most
//! widths, so that a block of them falls into a few sets of the cache; values are laid out tile by tile as well. What is not f32 is rounded there.

use super::lane::{dispatch_lane, lay, Held};
use super::tile::parts;
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::gemm::MR;
use crate::pool;
use crate::simd::{Shared, Simd, Task};
use std::cell::RefCell;
use std::marker::PhantomData;

/// Keys per block: scores of one block fit into L1.
const KEYS: usize = 8 * MR;
/// As many keys at most are one block: those of a prompt, whose result then never waits for more.
pub(super) const SHORT: usize = 80;
/// Numbers below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 16;

thread_local! {
    static MEMORY: RefCell<[Buffer<f32>; 2]> = RefCell::default();
}

/// Keys per block of so many keys: equal blocks of whole tiles, and so of whole lanes.
pub(super) fn blocked(keys: usize) -> usize {
    let blocks = if keys <= SHORT { 1 } else { keys.div_ceil(KEYS) };
    keys.div_ceil(blocks).next_multiple_of(MR)
}

/// Sizes of keys or values (batch, rows, heads, dim).
#[derive(Clone, Copy)]
pub(super) struct Tokens {
    pub batch: usize,
    pub rows: usize,
    pub heads: usize,
    pub dim: usize,
}

/// Keys and values of all heads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    k: &'a [f32],
    v: &'a [f32],
    of: Tokens,
    /// Per lane.
    numbers: usize,
    gathered: bool,
}

impl<'a> Source<'a> {
    pub fn is_gathered(&self) -> bool {
        self.gathered
    }

    /// A key of a head, and the distance between keys.
    pub fn keys(&self, head: usize, key: usize) -> (*const f32, usize) {
        let Tokens { rows, heads, dim, .. } = self.of;
        let (at, stride) = match (self.gathered, dim.div_ceil(self.numbers)) {
            (true, lanes) => ((head * rows + key) * lanes, lanes),
            (false, _) => (self.of.at(head, key), heads * dim),
        };
        (self.k.as_ptr().wrapping_add(at), stride)
    }

    /// Where `n` dimensions from `i` on of a head's values begin, for the block of keys from `key` on, and the distance between keys, or between lanes of them.
    #[inline(always)]
    pub fn values(&self, head: usize, key: usize, (i, n): (usize, usize)) -> (*const f32, usize) {
        let Tokens { rows, heads, dim, .. } = self.of;
        let (at, stride) = if self.gathered {
            let block = blocked(rows).min(rows - key).div_ceil(self.numbers);
            ((head * rows.div_ceil(self.numbers) + key / self.numbers) * dim + i * block, n)
        } else {
            (self.of.at(head, key) + i, heads * dim)
        };
        (self.v.as_ptr().wrapping_add(at), stride)
    }
}

impl Tokens {
    fn at(self, head: usize, row: usize) -> usize {
        ((head / self.heads * self.rows + row) * self.heads + head % self.heads) * self.dim
    }

    pub fn in_place<'a>(self, k: &'a [f32], v: &'a [f32]) -> Source<'a> {
        Source { k, v, of: self, numbers: 1, gathered: false }
    }

    /// Runs `f` with k as (batch, heads, rows, lanes of dim), and v as (batch, heads) blocks of parts of the dimensions of lanes of rows.
    pub fn gathered<L: Held, R>(self, level: Level, k: &[f32], v: &[f32], f: impl FnOnce(Source) -> R) -> R {
        let Self { batch, rows, heads, dim } = self;
        let lanes = [rows * dim.div_ceil(L::NUMBERS), rows.div_ceil(L::NUMBERS) * dim];
        // Taken out, not borrowed: while this thread waits for tasks it may start another call.
        let mut memory = MEMORY.take();
        let [keys, values] = &mut memory;
        let keys = keys.at_least(batch * heads * lanes[0]);
        let values = values.at_least(batch * heads * lanes[1]);
        let to = [Shared::new(keys.as_mut_ptr()), Shared::new(values.as_mut_ptr())];
        let task = |head: usize| {
            let from = [k, v].map(|x| x[self.at(head, 0)..].as_ptr());
            // Each task writes its own head.
            let to = [0, 1].map(|i| to[i].get().wrapping_add(head * lanes[i]));
            dispatch_lane::<L, _>(level, Gather::<L> { from, to, of: self, lane: PhantomData })
        };
        if k.len() < SERIAL {
            (0..batch * heads).for_each(task)
        } else {
            pool::run(batch * heads, task)
        }
        let result = f(Source { k: keys, v: values, of: self, numbers: L::NUMBERS, gathered: true });
        MEMORY.set(memory);
        result
    }
}

/// Lays out keys and values of a head: rows of keys; of each block of values parts of the dimensions, each with all rows.
struct Gather<L> {
    from: [*const f32; 2],
    to: [*mut f32; 2],
    of: Tokens,
    lane: PhantomData<L>,
}

impl<L: Held> Task for Gather<L> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { from: [k, v], to: [keys, values], of: Tokens { rows, heads, dim, .. }, .. } = self;
        let (stride, lanes, block) = (heads * dim, dim.div_ceil(L::NUMBERS), blocked(rows));
        for row in 0..rows {
            let from = k.add(row * stride);
            lay::<L, S>([(from, lanes), (from.add(lanes), dim - lanes)], keys.add(row * lanes));
        }
        for first in (0..rows).step_by(block) {
            let (v, values, rows) = (v.add(first * stride), values.add(first / L::NUMBERS * dim), block.min(rows - first));
            parts(dim, |i, n| {
                let (v, values) = (v.add(i), values.add(i * rows.div_ceil(L::NUMBERS)));
                for row in (0..rows).step_by(L::NUMBERS) {
                    let second = if row + 1 < rows { n } else { 0 };
                    lay::<L, S>([(v.add(row * stride), n), (v.wrapping_add((row + 1) * stride), second)], values.add(row / L::NUMBERS * n));
                }
            })
        }
    }
}
