//! Where keys and values of a head are read: in place, or next to each other. In place, rows of a head are a power of two times a cache line apart at most
//! widths, so that a block of them falls into a few sets of the cache; values are laid out tile by tile as well.

use super::tile::parts;
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::gemm::MR;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::cell::RefCell;

/// Keys per block: scores of one block fit into L1.
const KEYS: usize = 8 * MR;
/// As many keys at most are one block: those of a prompt, whose result then never waits for more.
pub(super) const SHORT: usize = 80;
/// Numbers below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 16;

thread_local! {
    static MEMORY: RefCell<[Buffer<f32>; 2]> = RefCell::default();
}

/// Keys per block of so many keys: equal blocks of whole tiles.
pub(super) fn blocked(keys: usize) -> usize {
    let blocks = if keys <= SHORT { 1 } else { keys.div_ceil(KEYS) };
    keys.div_ceil(blocks).next_multiple_of(MR)
}

/// Sizes of keys or values (batch, rows, heads, dim).
#[derive(Clone, Copy)]
pub(super) struct Heads {
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
    of: Heads,
    gathered: bool,
}

impl<'a> Source<'a> {
    pub fn is_gathered(&self) -> bool {
        self.gathered
    }

    /// Distance between keys, and between values in place.
    pub fn stride(&self) -> usize {
        if self.gathered {
            self.of.dim
        } else {
            self.of.heads * self.of.dim
        }
    }

    /// The first key and the first value of a head.
    pub fn head(&self, head: usize) -> [*const f32; 2] {
        let Heads { rows, dim, .. } = self.of;
        let at = if self.gathered { head * rows * dim } else { self.of.at(head, 0) };
        [self.k.as_ptr().wrapping_add(at), self.v.as_ptr().wrapping_add(at)]
    }

    /// Where `n` dimensions from `i` on of a block of values begin, and the distance between keys.
    #[inline(always)]
    pub fn strip(&self, values: *const f32, block: usize, (i, n): (usize, usize)) -> (*const f32, usize) {
        if self.gathered {
            (values.wrapping_add(i * block), n)
        } else {
            (values.wrapping_add(i), self.stride())
        }
    }
}

impl Heads {
    fn at(self, head: usize, row: usize) -> usize {
        ((head / self.heads * self.rows + row) * self.heads + head % self.heads) * self.dim
    }

    pub fn in_place<'a>(self, k: &'a [f32], v: &'a [f32]) -> Source<'a> {
        Source { k, v, of: self, gathered: false }
    }

    /// Runs `f` with k as (batch, heads, rows, dim), and v as (batch, heads) blocks of parts of the dimensions of rows.
    pub fn gathered<R>(self, level: Level, k: &[f32], v: &[f32], f: impl FnOnce(Source) -> R) -> R {
        let Self { batch, rows, heads, dim } = self;
        // Taken out, not borrowed: while this thread waits for tasks it may start another call.
        let mut memory = MEMORY.take();
        let [keys, values] = &mut memory;
        let keys = keys.at_least(k.len());
        let values = values.at_least(v.len());
        let to = [Shared::new(keys.as_mut_ptr()), Shared::new(values.as_mut_ptr())];
        let block = blocked(rows);
        let task = |head: usize| {
            for row in 0..rows {
                // SAFETY: each task writes its own head.
                unsafe { std::ptr::copy_nonoverlapping(k[self.at(head, row)..][..dim].as_ptr(), to[0].get().add((head * rows + row) * dim), dim) };
            }
            for first in (0..rows).step_by(block) {
                let (from, rows_here) = (v[self.at(head, first)..].as_ptr(), block.min(rows - first));
                // SAFETY: as above.
                let to = unsafe { to[1].get().add((head * rows + first) * dim) };
                dispatch(level, Strips { from, stride: heads * dim, rows: rows_here, dim, to });
            }
        };
        if k.len() < SERIAL {
            (0..batch * heads).for_each(task)
        } else {
            pool::run(batch * heads, task)
        }
        let result = f(Source { k: keys, v: values, of: self, gathered: true });
        MEMORY.set(memory);
        result
    }
}

/// Lays out a block of values: parts of the dimensions, each with all rows.
struct Strips {
    from: *const f32,
    stride: usize,
    rows: usize,
    dim: usize,
    to: *mut f32,
}

impl Task for Strips {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { from, stride, rows, dim, to } = self;
        parts(dim, |i, n| {
            let (from, to) = (from.add(i), to.add(i * rows));
            for row in 0..rows {
                for j in (0..n).step_by(S::LANES) {
                    let count = S::LANES.min(n - j);
                    S::store_part(to.add(row * n + j), S::load_part(from.add(row * stride + j), count), count);
                }
            }
        })
    }
}
