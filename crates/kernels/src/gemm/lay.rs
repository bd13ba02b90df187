//! Turning columns, as files have them, into panels.

use super::pack::Packed;
use crate::buffer::{Buffer, Number};
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use crate::weight::Part;

/// Numbers of a column that are turned at once: with those of a vector's other columns they stay in L1, and of each column whole cache lines are read.
const BLOCK: usize = Part::STRIDE;
/// Most columns that are turned at once.
const LANES: usize = Part::ROWS;
/// Blocks per task.
const BLOCKS: usize = 16;

impl Packed {
    /// The buffer of a matrix. `read(part, to)` writes a part of the source, whose rows are the columns here; number `i` of each belongs to the packed row
    /// `rows[i]`.
    pub(super) fn lay<T: Turn>(&self, rows: &[u32], read: impl Fn(Part, &mut [T]) + Sync + Send) -> Buffer<T> {
        // The tasks write all of them, those of unused columns too.
        let mut data = Buffer::unfilled(self.k * self.columns());
        if crate::dry::is_on() {
            return data;
        }
        let to = Shared::new(data.as_mut_ptr());
        let parts = rows.len().div_ceil(BLOCK * BLOCKS);
        pool::run(self.panels.len() * parts, |i| {
            let (panel, first) = (i / parts, i % parts * BLOCK * BLOCKS);
            let range = first..rows.len().min(first + BLOCK * BLOCKS);
            dispatch(self.level, Turning { packed: self, panel, rows, range, read: &read, to })
        });
        data
    }

    /// The packed row of each number of a column, for sources that have number `place(set, channel)` for a set's channel.
    pub(super) fn rows(&self, place: impl Fn(usize, usize) -> usize) -> Vec<u32> {
        let (mut rows, mut row) = (vec![0; self.k], 0);
        for run in &self.schedule.runs {
            for k in run.k0..run.k0 + run.len {
                rows[place(run.set, k)] = row;
                row += 1;
            }
        }
        rows
    }
}

/// Numbers of `range` of all columns of a panel.
struct Turning<'a, T, F> {
    packed: &'a Packed,
    panel: usize,
    rows: &'a [u32],
    range: std::ops::Range<usize>,
    read: &'a F,
    to: Shared<T>,
}

impl<T: Turn, F: Fn(Part, &mut [T])> Task for Turning<'_, T, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { packed, rows, read, .. } = self;
        let panel = &packed.panels[self.panel];
        let width = panel.vectors * S::LANES;
        let to = self.to.get().add(panel.offset * packed.k);
        let (mut columns, mut turned) = (Lines([T::ZERO; LANES * BLOCK]), Lines([T::ZERO; LANES * BLOCK]));
        let (columns, turned) = (&mut columns.0, &mut turned.0);
        for at in self.range.clone().step_by(BLOCK) {
            let count = BLOCK.min(self.range.end - at);
            for vector in 0..panel.vectors {
                let (first, used) = packed.columns_of(panel, vector, S::LANES);
                read(Part { first, rows: used, at, count, width: packed.k }, columns);
                columns[used * BLOCK..S::LANES * BLOCK].fill(T::ZERO);
                T::turn::<S>(columns.as_ptr(), turned.as_mut_ptr(), count);
                let to = to.add(vector * S::LANES);
                for (i, row) in rows[at..at + count].iter().enumerate() {
                    std::ptr::copy_nonoverlapping(turned.as_ptr().add(i * S::LANES), to.add(*row as usize * width), S::LANES);
                }
            }
        }
    }
}

/// In whole cache lines.
#[repr(align(64))]
struct Lines<T>([T; LANES * BLOCK]);

/// Numbers of which a block can be turned.
pub(super) trait Turn: Number + Send + Sync {
    const ZERO: Self;

    /// From `[lane][number]`, lanes `BLOCK` apart, to `[number][lane]`: at least `count` numbers. `from` is aligned to cache lines.
    unsafe fn turn<S: Simd>(from: *const Self, to: *mut Self, count: usize);
}

impl Turn for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    unsafe fn turn<S: Simd>(from: *const f32, to: *mut f32, count: usize) {
        for i in (0..count).step_by(S::LANES) {
            S::transpose(from.add(i), BLOCK, to.add(i * S::LANES), S::LANES)
        }
    }
}

impl Turn for u32 {
    const ZERO: Self = 0;

    #[inline(always)]
    unsafe fn turn<S: Simd>(from: *const u32, to: *mut u32, count: usize) {
        f32::turn::<S>(from.cast(), to.cast(), count)
    }
}

impl Turn for u16 {
    const ZERO: Self = 0;

    /// Two numbers as one, then their halves apart.
    #[inline(always)]
    unsafe fn turn<S: Simd>(from: *const u16, to: *mut u16, count: usize) {
        let mut pairs = [0u32; LANES * LANES];
        for i in (0..count).step_by(2 * S::LANES) {
            S::transpose(from.add(i).cast(), BLOCK / 2, pairs.as_mut_ptr().cast(), S::LANES);
            let to = std::slice::from_raw_parts_mut(to.add(i * S::LANES), 2 * S::LANES * S::LANES);
            for (to, pairs) in to.chunks_exact_mut(2 * S::LANES).zip(pairs.chunks_exact(S::LANES)) {
                let (first, second) = to.split_at_mut(S::LANES);
                first.iter_mut().zip(pairs).for_each(|(to, pair)| *to = *pair as u16);
                second.iter_mut().zip(pairs).for_each(|(to, pair)| *to = (*pair >> 16) as u16);
            }
        }
    }
}
