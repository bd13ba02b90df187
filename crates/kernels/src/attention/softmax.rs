//! The softmax of a block of scores `[key][lane]`, all vertical: each lane is a query with its own maximum and sum.
//!
//! Weights are `2^(score - m)` with a whole number m near the largest score so far: then `score + (C - m)` rounds the score to a whole number without losing
//! a bit of m, and its low bits are the exponent. It takes 12 instructions per score.

use super::lane::Held;
use crate::simd::math::exp2;
use crate::simd::Simd;

/// A score that no exponential survives, finite so that differences of two stay numbers.
pub(super) const NEVER: f32 = -1e30;
/// 1.5 * 2^23: numbers near it have no digits after the point.
const WHOLE: f32 = 12_582_912.0;
/// Scores beyond this are too large to be added to [`WHOLE`] without loss.
const FAR: f32 = 2_097_152.0;
/// Weights end at 2^-100: denormal numbers cost a hundred cycles each.
const LOWEST: f32 = 100.0;
/// How far scores may exceed m before what was summed is rescaled: weights then reach 2^9, and rescaling is rare.
const SLACK: f32 = 8.0;

/// What is known of the queries of a panel.
pub(super) struct Running<V, const NV: usize> {
    /// m, per query.
    pub near: [V; NV],
    pub sum: [V; NV],
    /// Some m is [`FAR`]: a broken model, or a query that sees nothing.
    far: bool,
}

impl<V: Copy, const NV: usize> Running<V, NV> {
    #[inline(always)]
    pub unsafe fn new<S: Simd<V = V>>() -> Self {
        Self { near: [S::splat(NEVER); NV], sum: [S::splat(0.0); NV], far: true }
    }

    /// Turns `keys` rows of scores into rows of held weights, from the same place on; `result` (dim rows) is what was summed before, nothing for the first block.
    #[inline(always)]
    pub unsafe fn weigh<L: Held, S: Simd<V = V>>(&mut self, scores: *mut f32, keys: usize, result: *mut f32, dim: usize) {
        let row = |r: usize, j: usize| scores.add((r * NV + j) * S::LANES);
        let mut high = [[S::splat(NEVER); NV]; 2];
        for r in 0..keys / 2 {
            for j in 0..NV {
                high[0][j] = S::max(high[0][j], S::load(row(2 * r, j)));
                high[1][j] = S::max(high[1][j], S::load(row(2 * r + 1, j)));
            }
        }
        let mut moved = false;
        for j in 0..NV {
            if keys % 2 == 1 {
                high[0][j] = S::max(high[0][j], S::load(row(keys - 1, j)));
            }
            high[0][j] = S::max(high[0][j], high[1][j]);
            moved |= S::any_greater(high[0][j], S::add(self.near[j], S::splat(SLACK)));
        }
        if moved {
            self.move_to::<S>(high[0], result, dim);
        }
        for j in 0..NV {
            let near = self.near[j];
            let (base, floor) = (S::sub(S::splat(WHOLE), near), S::sub(near, S::splat(LOWEST)));
            let mut sum = self.sum[j];
            for r in (0..keys).step_by(L::NUMBERS) {
                let mut weights = [S::splat(0.0); 2];
                for i in 0..L::NUMBERS {
                    if r + i < keys {
                        let x = S::load(row(r + i, j));
                        weights[i] = if self.far { exp2::<S>(S::sub(x, near)) } else { weight::<L, S>(S::max(floor, x), base) };
                    }
                }
                // Summed as they are multiplied, so that together they weigh one.
                let held = L::hold::<S>(weights);
                sum = S::add(sum, L::sum::<S>(held));
                S::store(row(r / L::NUMBERS, j), held);
            }
            self.sum[j] = sum;
        }
    }

    #[inline(always)]
    unsafe fn move_to<S: Simd<V = V>>(&mut self, high: [V; NV], result: *mut f32, dim: usize) {
        let mut near = self.near;
        self.far = false;
        for j in 0..NV {
            near[j] = S::max(near[j], high[j]);
            self.far |= S::any_greater(S::abs(near[j]), S::splat(FAR));
        }
        for j in 0..NV {
            if !self.far {
                near[j] = S::round(near[j]);
            }
            let factor = exp2::<S>(S::sub(self.near[j], near[j]));
            self.sum[j] = S::mul(self.sum[j], factor);
            for i in 0..dim {
                let p = result.add((i * NV + j) * S::LANES);
                S::store(p, S::mul(S::load(p), factor));
            }
        }
        self.near = near;
    }
}

/// `2^(x - m)` for `base = WHOLE - m`.
#[inline(always)]
unsafe fn weight<L: Held, S: Simd>(x: S::V, base: S::V) -> S::V {
    let shifted = S::add(x, base);
    let f = S::sub(x, S::sub(shifted, base));
    let mut p = S::splat(L::EXP2[0]);
    for c in &L::EXP2[1..] {
        p = S::fma(p, f, S::splat(*c));
    }
    S::add_exponent(p, shifted)
}
