//! Rows that the next panel reads and writes, fetched a few with every tile.

use crate::simd::Simd;

/// Numbers of a cache line.
const LINE: usize = 16;

/// Steps between two rows at least.
const SPACED: usize = 8;

/// Rows of `dim` numbers that the next panel reads and writes. Their lines are too far apart for the CPU to expect them, and too many to ask for at once.
pub(super) struct Ahead {
    /// (first row, how many), in the order of their turn.
    regions: [(*const f32, usize); 4],
    at: usize,
    stride: usize,
    dim: usize,
    /// Steps of a tile between two rows.
    pub every: usize,
}

impl Ahead {
    /// These rows, `stride` numbers apart, within so many steps.
    pub fn new(regions: [(*const f32, usize); 4], stride: usize, dim: usize, steps: usize) -> Self {
        let rows: usize = regions.iter().map(|(_, rows)| rows).sum();
        Self { regions, at: 0, stride, dim, every: steps.checked_div(rows).unwrap_or(steps).max(SPACED) }
    }

    /// Fetches one row.
    #[inline(always)]
    pub unsafe fn fetch<S: Simd>(&mut self) {
        while let Some((row, left)) = self.regions.get_mut(self.at) {
            if *left == 0 {
                self.at += 1;
                continue;
            }
            for i in (0..self.dim).step_by(LINE) {
                S::prefetch_far(row.wrapping_add(i));
            }
            S::prefetch_far(row.wrapping_add(self.dim - 1));
            (*row, *left) = (row.wrapping_add(self.stride), *left - 1);
            return;
        }
    }
}
