//! The one-dimensional transforms of F(m, 3): `Y = A^T [(G g) * (B^T d)]`, arXiv:1509.09308.

use crate::gemm::Unit;
use crate::simd::Simd;

/// Values of a tile's side; the longest is eight.
pub(super) type Side<S> = [<S as Simd>::V; 8];

/// A tile size with its evaluation points.
pub(crate) trait Tile: Send + Sync + 'static {
    /// Output pixels per side.
    const M: usize;
    /// Input pixels per side, M + 2.
    const A: usize;
    /// Finite evaluation points, zero and then pairs of opposite ones; infinity comes last.
    const POINTS: &'static [f32];
    /// What is multiplied. Transforms are f32.
    const UNIT: Unit = Unit::Float;

    /// B^T: A values to A values.
    unsafe fn input<S: Simd>(x: &mut Side<S>);
    /// A^T: A values to M values.
    unsafe fn output<S: Simd>(x: &mut Side<S>);
}

/// G: the powers of the points, divided by their Lagrange denominators; the last row is infinity's.
const fn rows_of(points: &[f32]) -> [[f32; 3]; 8] {
    let mut rows = [[0.0, 0.0, 1.0]; 8];
    let mut i = 0;
    while i < points.len() {
        let (p, mut denominator, mut j) = (points[i], 1.0, 0);
        while j < points.len() {
            if i != j {
                denominator *= p - points[j];
            }
            j += 1;
        }
        rows[i] = [1.0 / denominator, p / denominator, p * p / denominator];
        i += 1;
    }
    rows
}

/// Rows i of G, of a tile.
pub(super) struct G<T>(std::marker::PhantomData<T>);

impl<T: Tile> G<T> {
    pub const ROWS: [[f32; 3]; 8] = rows_of(T::POINTS);
}

/// G: 3 values to A values. The points are zero and pairs of opposite ones, which share their even part.
#[inline(always)]
pub(super) unsafe fn weight<S: Simd, T: Tile>(g: [S::V; 3]) -> Side<S> {
    let mut out = [g[2]; 8];
    out[0] = S::mul(S::splat(G::<T>::ROWS[0][0]), g[0]);
    for i in (1..T::A - 1).step_by(2) {
        let [a, b, c] = G::<T>::ROWS[i];
        let even = S::fma(S::splat(c), g[2], S::mul(S::splat(a), g[0]));
        (out[i], out[i + 1]) = (S::fma(S::splat(b), g[1], even), S::fnma(S::splat(b), g[1], even));
    }
    out
}

/// 4 pixels from 6. The points 0, +-5/8, +-3/2 lose half as many digits as the textbook's 0, +-1, +-2 (error 1.5e-6 against 3.2e-6), near the optimum of all
/// symmetric choices.
pub(crate) struct F4;

const P: f32 = 0.625;
const Q: f32 = 1.5;

impl Tile for F4 {
    const M: usize = 4;
    const A: usize = 6;
    const POINTS: &'static [f32] = &[0.0, P, -P, Q, -Q];

    #[inline(always)]
    unsafe fn input<S: Simd>(x: &mut Side<S>) {
        let (pp, qq) = (S::splat(P * P), S::splat(Q * Q));
        let (s, d) = (S::splat(P * P + Q * Q), S::splat(P * P * Q * Q));
        let [x0, x1, x2, x3, x4, x5, ..] = *x;
        let (even_p, odd_p) = (S::fnma(qq, x2, x4), S::fnma(qq, x1, x3));
        let (even_q, odd_q) = (S::fnma(pp, x2, x4), S::fnma(pp, x1, x3));
        x[0] = S::fma(d, x0, S::fnma(s, x2, x4));
        x[1] = S::fma(S::splat(P), odd_p, even_p);
        x[2] = S::fnma(S::splat(P), odd_p, even_p);
        x[3] = S::fma(S::splat(Q), odd_q, even_q);
        x[4] = S::fnma(S::splat(Q), odd_q, even_q);
        x[5] = S::fma(d, x1, S::fnma(s, x3, x5));
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(x: &mut Side<S>) {
        let [x0, x1, x2, x3, x4, x5, ..] = *x;
        let (sp, dp) = (S::add(x1, x2), S::sub(x1, x2));
        let (sq, dq) = (S::add(x3, x4), S::sub(x3, x4));
        x[0] = S::add(x0, S::add(sp, sq));
        x[1] = S::fma(S::splat(Q), dq, S::mul(S::splat(P), dp));
        x[2] = S::fma(S::splat(Q * Q), sq, S::mul(S::splat(P * P), sp));
        x[3] = S::fma(S::splat(Q * Q * Q), dq, S::fma(S::splat(P * P * P), dp, x5));
    }
}

/// 6 pixels from 8, points 0, +-1, +-2, +-1/2: error 6e-6.
pub(crate) struct F6;

impl Tile for F6 {
    const M: usize = 6;
    const A: usize = 8;
    const POINTS: &'static [f32] = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

    #[inline(always)]
    unsafe fn input<S: Simd>(x: &mut Side<S>) {
        // Coefficients of the product of (t - point) over the other points; e1, e2, e3: symmetric functions of the squares 1, 4, 1/4.
        const E1: f32 = 5.25;
        const E2: f32 = 5.25;
        const E3: f32 = 1.0;
        let [x0, x1, x2, x3, x4, x5, x6, x7] = *x;
        let (e1, e2, e3) = (S::splat(E1), S::splat(E2), S::splat(E3));
        x[0] = S::fnma(e3, x0, S::fma(e2, x2, S::fnma(e1, x4, x6)));
        x[7] = S::fnma(e3, x1, S::fma(e2, x3, S::fnma(e1, x5, x7)));
        for (i, p) in [1.0f32, 2.0, 0.5].into_iter().enumerate() {
            let (s, d) = (S::splat(E1 - p * p), S::splat(E3 / (p * p)));
            let even = S::fma(d, x2, S::fnma(s, x4, x6));
            let odd = S::fma(d, x1, S::fnma(s, x3, x5));
            x[1 + 2 * i] = S::fma(S::splat(p), odd, even);
            x[2 + 2 * i] = S::fnma(S::splat(p), odd, even);
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(x: &mut Side<S>) {
        let [x0, x1, x2, x3, x4, x5, x6, x7] = *x;
        let (s1, d1) = (S::add(x1, x2), S::sub(x1, x2));
        let (s2, d2) = (S::add(x3, x4), S::sub(x3, x4));
        let (s3, d3) = (S::add(x5, x6), S::sub(x5, x6));
        x[0] = S::add(S::add(x0, s1), S::add(s2, s3));
        for k in 1..6 {
            let (a, b, c) = if k % 2 == 0 { (s1, s2, s3) } else { (d1, d2, d3) };
            let w = (1u32 << k) as f32;
            x[k] = S::fma(S::splat(w), b, S::fma(S::splat(1.0 / w), c, a));
        }
        x[5] = S::add(x[5], x7);
    }
}

/// 2 pixels from 4, points 0, +-1: for images too small for larger tiles.
pub(crate) struct F2;

impl Tile for F2 {
    const M: usize = 2;
    const A: usize = 4;
    const POINTS: &'static [f32] = &[0.0, 1.0, -1.0];

    #[inline(always)]
    unsafe fn input<S: Simd>(x: &mut Side<S>) {
        let [a, b, c, d, ..] = *x;
        (x[0], x[1], x[2], x[3]) = (S::sub(c, a), S::add(b, c), S::sub(c, b), S::sub(d, b));
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(x: &mut Side<S>) {
        let [a, b, c, d, ..] = *x;
        x[0] = S::add(a, S::add(b, c));
        x[1] = S::add(S::sub(b, c), d);
    }
}

/// The same tile with products of brain floats: U and V are rounded to them, which costs F2 1.65 times the error of a direct product of theirs.
pub(crate) struct InPairs<T>(std::marker::PhantomData<T>);

impl<T: Tile> Tile for InPairs<T> {
    const M: usize = T::M;
    const A: usize = T::A;
    const POINTS: &'static [f32] = T::POINTS;
    const UNIT: Unit = Unit::Pair;

    #[inline(always)]
    unsafe fn input<S: Simd>(x: &mut Side<S>) {
        T::input::<S>(x)
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(x: &mut Side<S>) {
        T::output::<S>(x)
    }
}
