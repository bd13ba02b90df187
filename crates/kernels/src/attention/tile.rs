//! The register tile of a product whose left matrix is read where it is: along its rows, or along its columns.

use super::ahead::Ahead;
use crate::gemm::{Lane, MR};
use crate::simd::{Simd, Task};
use std::marker::PhantomData;

/// Lanes of the left matrix that are fetched before their turn, where they follow each other.
const AHEAD: usize = 256;
/// Steps that they are fetched before their turn, where they do not.
const STEPS: usize = 8;

/// `c[r][..] = (first ? 0 : c[r][..]) + sum over q < k of a(r, q) * b[q][..]`, q counting lanes; rows of b and c are as wide as the panel.
pub(super) struct Call<'a> {
    pub a: *const f32,
    /// Distance of rows where they are read along, else 1; distance of steps where those are apart, else 1.
    pub stride: usize,
    pub k: usize,
    pub b: *const f32,
    pub c: *mut f32,
    pub first: bool,
    pub ahead: &'a mut Ahead,
}

/// Element (r, q) of the left matrix is at `r * stride + q` if `ALONG`, else at `r + q * stride`.
struct Tile<'a, 'b, L, const M: usize, const NV: usize, const ALONG: bool>(&'a mut Call<'b>, PhantomData<L>);

impl<L: Lane, const M: usize, const NV: usize, const ALONG: bool> Task for Tile<'_, '_, L, M, NV, ALONG> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Call { a, stride, k, b, c, first, .. } = *self.0;
        let ahead = &mut *self.0.ahead;
        let width = NV * S::LANES;
        let mut acc = [[S::splat(0.0); NV]; M];
        if !first {
            for r in 0..M {
                for j in 0..NV {
                    acc[r][j] = S::load(c.add(r * width + j * S::LANES));
                }
            }
        }
        let (mut rows, mut bp) = ([a; M], b);
        for r in 0..M {
            rows[r] = a.wrapping_add(if ALONG { r * stride } else { r });
        }
        let (mut ap, distance) = (a, if stride > MR { STEPS * stride } else { AHEAD });
        let mut q = 0;
        while q < k {
            ahead.fetch::<S>();
            if ALONG {
                for r in 0..M {
                    S::prefetch(rows[r].wrapping_add(q + M * stride));
                }
            }
            let end = k.min(q + ahead.every);
            while q < end {
                if !ALONG {
                    S::prefetch(ap.wrapping_add(distance));
                }
                let mut bv = [S::splat(0.0); NV];
                for j in 0..NV {
                    bv[j] = S::load(bp.add(j * S::LANES));
                }
                for r in 0..M {
                    let x = S::splat(if ALONG { *rows[r].add(q) } else { *ap.add(r) });
                    for j in 0..NV {
                        acc[r][j] = L::add::<S>(x, bv[j], acc[r][j]);
                    }
                }
                // The last step may lead past the values, where nothing is read.
                (ap, bp, q) = (ap.wrapping_add(stride), bp.add(width), q + 1);
            }
        }
        for r in 0..M {
            for j in 0..NV {
                S::store(c.add(r * width + j * S::LANES), acc[r][j]);
            }
        }
    }
}

unsafe fn instance<L: Lane, S: Simd, const M: usize, const NV: usize, const ALONG: bool>(call: &mut Call) {
    L::enter::<S, _>(Tile::<L, M, NV, ALONG>(call, PhantomData))
}

type Instances = [[unsafe fn(&mut Call); MR]; 4];

/// The instance for a panel of `vectors` and `rows` rows.
pub(super) fn tile<L: Lane, S: Simd, const ALONG: bool>(vectors: usize, rows: usize) -> unsafe fn(&mut Call) {
    macro_rules! row {
        ($nv:literal) => {
            [
                instance::<L, S, 1, $nv, ALONG>,
                instance::<L, S, 2, $nv, ALONG>,
                instance::<L, S, 3, $nv, ALONG>,
                instance::<L, S, 4, $nv, ALONG>,
                instance::<L, S, 5, $nv, ALONG>,
                instance::<L, S, 6, $nv, ALONG>,
            ]
        };
    }
    let all: &'static Instances = const { &[row!(1), row!(2), row!(3), row!(4)] };
    all[vectors - 1][rows - 1]
}

/// Calls `f(first, count)` for equal parts of at most a tile's rows.
#[inline(always)]
pub(super) unsafe fn parts(total: usize, mut f: impl FnMut(usize, usize)) {
    let (count, mut first) = (total.div_ceil(MR), 0);
    for part in 0..count {
        let n = (total - first).div_ceil(count - part);
        f(first, n);
        first += n;
    }
}
