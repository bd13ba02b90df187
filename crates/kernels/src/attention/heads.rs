//! Keys and values of each head next to each other. In place, rows of a head are a power of two times a cache line apart at most widths, so that a block of
//! them falls into a few sets of the cache. Keys are turned as well, for the tile that multiplies a matrix stored along the summed dimension.

use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::cell::RefCell;

/// Keys per group: one cache line for each of their dimensions.
pub(super) const GROUP: usize = 16;
/// Numbers below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 16;

thread_local! {
    static MEMORY: RefCell<[Buffer<f32>; 2]> = RefCell::default();
}

/// Sizes of keys or values (batch, rows, heads, dim).
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub batch: usize,
    pub rows: usize,
    pub heads: usize,
    pub dim: usize,
}

impl Heads {
    /// Runs `f` with k times `factor` as (batch, heads, group, dim, GROUP), the last group of a head filled up, and v as (batch, heads, rows, dim).
    pub fn gathered<R>(self, level: Level, k: &[f32], v: &[f32], factor: f32, f: impl FnOnce(&[f32], &[f32]) -> R) -> R {
        let Self { batch, rows, heads, dim } = self;
        // Taken out, not borrowed: while this thread waits for tasks it may start another call.
        let mut memory = MEMORY.take();
        let [keys, values] = &mut memory;
        let keys = keys.at_least(batch * heads * rows.next_multiple_of(GROUP) * dim);
        let values = values.at_least(if heads > 1 { v.len() } else { 0 });
        let to = [Shared::new(keys.as_mut_ptr()), Shared::new(values.as_mut_ptr())];
        let groups = rows.div_ceil(GROUP);
        let task = |i: usize| {
            let (head, group) = (i / groups, i % groups);
            let (first, count) = (group * GROUP, GROUP.min(rows - group * GROUP));
            let at = |row: usize| ((head / heads * rows + row) * heads + head % heads) * dim;
            // SAFETY: each task writes its own group of a head.
            unsafe {
                dispatch(level, Turn { k: k.as_ptr().add(at(first)), stride: heads * dim, count, dim, factor, to: to[0].get().add(i * GROUP * dim) });
                for row in first..if heads > 1 { first + count } else { 0 } {
                    std::ptr::copy_nonoverlapping(v[at(row)..][..dim].as_ptr(), to[1].get().add((head * rows + row) * dim), dim);
                }
            }
        };
        if k.len() < SERIAL {
            (0..batch * heads * groups).for_each(task)
        } else {
            pool::run(batch * heads, |head| (head * groups..(head + 1) * groups).for_each(task))
        }
        let result = f(keys, if heads > 1 { values } else { v });
        MEMORY.set(memory);
        result
    }
}

/// Turns a group of keys.
struct Turn {
    k: *const f32,
    stride: usize,
    count: usize,
    dim: usize,
    factor: f32,
    to: *mut f32,
}

impl Task for Turn {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { k, stride, count, dim, factor, to } = self;
        for i in (0..GROUP).step_by(S::LANES) {
            let rows = count.saturating_sub(i).min(S::LANES);
            for j in (0..dim).step_by(S::LANES) {
                let from = k.wrapping_add(i * stride + j);
                S::transpose_part(from, stride, (rows, S::LANES.min(dim - j)), S::splat(factor), to.add(j * GROUP + i), GROUP, S::LANES);
            }
        }
    }
}
