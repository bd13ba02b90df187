//! The register-blocked inner loop.

use super::pack::Run;
use crate::simd::{Simd, Task};

/// Rows per register tile: six row pointers fit into general registers, so the rows may lie anywhere.
pub(crate) const MR: usize = 6;

/// Arguments of one tile: `c[r][..] = (first ? 0 : c[r][..]) + sum over runs and their channels of rows[r] * b`.
pub(crate) struct Call {
    /// Row pointers of the first set; the tile's own and as many more, which are only prefetched.
    pub rows: *const *const f32,
    /// Pointers from one set to the next.
    pub set_stride: usize,
    pub runs: *const Run,
    pub run_count: usize,
    /// The packed chunk of one panel.
    pub b: *const f32,
    /// Rows as wide as the panel.
    pub c: *mut f32,
    pub first: bool,
}

/// Instances by `[vectors - 1][rows - 1]`; those wider than the instruction set's panel are never called.
pub(crate) type Kernels = [[unsafe fn(&Call); MR]; 4];

struct Tile<'a, const M: usize, const NV: usize>(&'a Call);

impl<const M: usize, const NV: usize> Task for Tile<'_, M, NV> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Call { rows, set_stride, runs, run_count, b, c, first } = *self.0;
        let width = NV * S::LANES;
        let mut acc = [[S::splat(0.0); NV]; M];
        if !first {
            for r in 0..M {
                for j in 0..NV {
                    acc[r][j] = S::load(c.add(r * width + j * S::LANES));
                }
            }
        }
        let mut bp = b;
        for i in 0..run_count {
            let run = &*runs.add(i);
            let pointers = rows.add(run.set * set_stride);
            let mut a = [std::ptr::null::<f32>(); M];
            for r in 0..M {
                a[r] = (*pointers.add(r)).add(run.k0);
            }
            let mut q = 0;
            while q < run.len {
                for r in 0..M {
                    S::prefetch((*pointers.add(M + r)).wrapping_add(run.k0 + q));
                }
                let end = run.len.min(q + 16);
                while q < end {
                    let mut bv = [S::splat(0.0); NV];
                    for j in 0..NV {
                        bv[j] = S::load(bp.add(j * S::LANES));
                    }
                    bp = bp.add(width);
                    for r in 0..M {
                        let x = S::splat(*a[r].add(q));
                        for j in 0..NV {
                            acc[r][j] = S::fma(x, bv[j], acc[r][j]);
                        }
                    }
                    q += 1;
                }
            }
        }
        for r in 0..M {
            for j in 0..NV {
                S::store(c.add(r * width + j * S::LANES), acc[r][j]);
            }
        }
    }
}

unsafe fn tile<S: Simd, const M: usize, const NV: usize>(call: &Call) {
    S::enter(Tile::<M, NV>(call))
}

/// The instances for an instruction set.
pub(crate) fn kernels<S: Simd>() -> &'static Kernels {
    const {
        &[
            [tile::<S, 1, 1>, tile::<S, 2, 1>, tile::<S, 3, 1>, tile::<S, 4, 1>, tile::<S, 5, 1>, tile::<S, 6, 1>],
            [tile::<S, 1, 2>, tile::<S, 2, 2>, tile::<S, 3, 2>, tile::<S, 4, 2>, tile::<S, 5, 2>, tile::<S, 6, 2>],
            [tile::<S, 1, 3>, tile::<S, 2, 3>, tile::<S, 3, 3>, tile::<S, 4, 3>, tile::<S, 5, 3>, tile::<S, 6, 3>],
            [tile::<S, 1, 4>, tile::<S, 2, 4>, tile::<S, 3, 4>, tile::<S, 4, 4>, tile::<S, 5, 4>, tile::<S, 6, 4>],
        ]
    }
}
