//! Keys and values of each head next to each other. In place, rows of a head are a power of two times a cache line apart at most widths, so that a block of
//! them falls into a few sets of the cache.

use crate::buffer::Buffer;
use crate::pool;
use crate::simd::Shared;
use std::cell::RefCell;

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
    /// Runs `f` with k and v as (batch, heads, rows, dim).
    pub fn gathered<R>(self, k: &[f32], v: &[f32], f: impl FnOnce(&[f32], &[f32]) -> R) -> R {
        if self.heads == 1 {
            return f(k, v);
        }
        // Taken out, not borrowed: while this thread waits for tasks it may start another call.
        let mut memory = MEMORY.take();
        let [keys, values] = memory.each_mut().map(|buffer| buffer.at_least(k.len()));
        let to = [Shared::new(keys.as_mut_ptr()), Shared::new(values.as_mut_ptr())];
        let task = |i: usize| {
            let (sample, head) = (i / self.heads, i % self.heads);
            for row in 0..self.rows {
                let at = ((sample * self.rows + row) * self.heads + head) * self.dim;
                let row = (i * self.rows + row) * self.dim;
                for (from, to) in [k, v].into_iter().zip(to) {
                    // SAFETY: each task writes its own head.
                    unsafe { std::ptr::copy_nonoverlapping(from[at..][..self.dim].as_ptr(), to.get().add(row), self.dim) };
                }
            }
        };
        if k.len() < SERIAL {
            (0..self.batch * self.heads).for_each(task)
        } else {
            pool::run(self.batch * self.heads, task)
        }
        let result = f(keys, values);
        MEMORY.set(memory);
        result
    }
}
