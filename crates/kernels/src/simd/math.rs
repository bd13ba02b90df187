//! Exponentials and activations on vectors.

use super::Simd;
use crate::Activation;
use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// 2^x, relative error 2e-7; below -100 it stays 8e-31 and above 128 it is infinity.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    // The bounds keep x - round(x) finite for infinite x, and results and their products out of the denormal numbers, which cost a hundred cycles each.
    // NaN passes (it is the second operand).
    let x = S::min(S::splat(200.0), S::max(S::splat(-100.0), x));
    let n = S::round(x);
    let f = S::sub(x, n);
    // Taylor-like coefficients of 2^f on [-1/2, 1/2], highest first.
    let mut p = S::splat(0.000_154_035_3);
    for c in [0.001_333_355_8, 0.009_618_129, 0.055_504_11, 0.240_226_5, LN_2, 1.0] {
        p = S::fma(p, f, S::splat(c));
    }
    S::scale2(p, n)
}

/// e^x, relative error 2e-7 times |x| for large |x|.
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    exp2::<S>(S::mul(x, S::splat(LOG2_E)))
}

/// x / (1 + e^-kx)
#[inline(always)]
unsafe fn sigmoid_times<S: Simd>(x: S::V, kx: S::V) -> S::V {
    let e = exp2::<S>(S::mul(kx, S::splat(-LOG2_E)));
    S::mul(x, S::recip(S::add(e, S::splat(1.0))))
}

/// x * Phi(x); absolute error below 2e-7 |x| (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub(crate) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    let z = S::mul(S::abs(x), S::splat(FRAC_1_SQRT_2));
    let t = S::recip(S::fma(z, S::splat(0.327_591_1), S::splat(1.0)));
    let mut p = S::splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = S::fma(p, t, S::splat(c));
    }
    let e = exp2::<S>(S::mul(S::mul(z, z), S::splat(-LOG2_E)));
    // erfc(z) / 2 is Phi(x) for negative x and 1 - Phi(x) for positive.
    let half = S::mul(S::mul(S::mul(p, t), e), S::splat(0.5));
    S::mul(x, S::where_positive(x, S::sub(S::splat(1.0), half), half))
}

/// The activation of one vector.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(a: Activation, x: S::V) -> S::V {
    match a {
        Activation::Silu => sigmoid_times::<S>(x, x),
        Activation::Gelu => gelu::<S>(x),
        Activation::GeluTanh => {
            // 1/2 (1 + tanh u) = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
            let cubic = S::mul(x, S::fma(S::mul(x, x), S::splat(0.044_715), S::splat(1.0)));
            sigmoid_times::<S>(x, S::mul(cubic, S::splat(1.595_769_2)))
        }
        Activation::QuickGelu => sigmoid_times::<S>(x, S::mul(x, S::splat(1.702))),
        Activation::Relu => S::max(S::splat(0.0), x),
        Activation::Mish => {
            // tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2); beyond 20 it is 1 in f32.
            let e = exp::<S>(S::min(S::splat(20.0), x));
            let n = S::mul(e, S::add(e, S::splat(2.0)));
            // `exp2` ends at 8e-31, which must not meet a huge x.
            S::mul(S::max(S::splat(-200.0), x), S::div(n, S::add(n, S::splat(2.0))))
        }
    }
}
