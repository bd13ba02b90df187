//! The register tile of a product whose left matrix is stored along the summed dimension.

use crate::gemm::MR;
use crate::simd::{Simd, Task};

/// `c[r][..] = (first ? 0 : c[r][..]) + sum over q < k of a[q * step + r] * b[q][..]`; rows of b and c are as wide as the panel.
pub(super) struct DownCall {
    pub a: *const f32,
    pub step: usize,
    pub k: usize,
    pub b: *const f32,
    pub c: *mut f32,
    pub first: bool,
}

struct Down<'a, const M: usize, const NV: usize>(&'a DownCall);

impl<const M: usize, const NV: usize> Task for Down<'_, M, NV> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let DownCall { a, step, k, b, c, first } = *self.0;
        let width = NV * S::LANES;
        let mut acc = [[S::splat(0.0); NV]; M];
        if !first {
            for r in 0..M {
                for j in 0..NV {
                    acc[r][j] = S::load(c.add(r * width + j * S::LANES));
                }
            }
        }
        let (mut ap, mut bp) = (a, b);
        for _ in 0..k {
            let mut bv = [S::splat(0.0); NV];
            for j in 0..NV {
                bv[j] = S::load(bp.add(j * S::LANES));
            }
            for r in 0..M {
                let x = S::splat(*ap.add(r));
                for j in 0..NV {
                    acc[r][j] = S::fma(x, bv[j], acc[r][j]);
                }
            }
            // The last step may lead past the values, where nothing is read.
            (ap, bp) = (ap.wrapping_add(step), bp.add(width));
        }
        for r in 0..M {
            for j in 0..NV {
                S::store(c.add(r * width + j * S::LANES), acc[r][j]);
            }
        }
    }
}

unsafe fn instance<S: Simd, const M: usize, const NV: usize>(call: &DownCall) {
    S::enter(Down::<M, NV>(call))
}

type Instances = [[unsafe fn(&DownCall); MR]; 4];

/// The instance for a panel of `vectors` and `rows` rows.
pub(super) fn down<S: Simd>(vectors: usize, rows: usize) -> unsafe fn(&DownCall) {
    let all: &'static Instances = const {
        &[
            [instance::<S, 1, 1>, instance::<S, 2, 1>, instance::<S, 3, 1>, instance::<S, 4, 1>, instance::<S, 5, 1>, instance::<S, 6, 1>],
            [instance::<S, 1, 2>, instance::<S, 2, 2>, instance::<S, 3, 2>, instance::<S, 4, 2>, instance::<S, 5, 2>, instance::<S, 6, 2>],
            [instance::<S, 1, 3>, instance::<S, 2, 3>, instance::<S, 3, 3>, instance::<S, 4, 3>, instance::<S, 5, 3>, instance::<S, 6, 3>],
            [instance::<S, 1, 4>, instance::<S, 2, 4>, instance::<S, 3, 4>, instance::<S, 4, 4>, instance::<S, 5, 4>, instance::<S, 6, 4>],
        ]
    };
    all[vectors - 1][rows - 1]
}
