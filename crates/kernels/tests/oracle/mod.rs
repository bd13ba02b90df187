//! The oracle: every body at every level of this machine against the reference in f64.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod products;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{with_level, Level};

/// Makes one test per level from a function `fn(Level)`; a level that this machine lacks says so and passes.
#[macro_export]
macro_rules! each_level {
    ($($body:ident),* $(,)?) => {
        mod scalar { $(#[test] fn $body() { $crate::oracle::at(nd_kernels::cpu::Level::Scalar, super::$body) })* }
        mod avx2 { $(#[test] fn $body() { $crate::oracle::at(nd_kernels::cpu::Level::Avx2, super::$body) })* }
        mod avx512 { $(#[test] fn $body() { $crate::oracle::at(nd_kernels::cpu::Level::Avx512, super::$body) })* }
        mod neon { $(#[test] fn $body() { $crate::oracle::at(nd_kernels::cpu::Level::Neon, super::$body) })* }
        mod reference { $(#[test] fn $body() { $crate::oracle::at(nd_kernels::cpu::Level::Reference, super::$body) })* }
    };
}

/// Runs the body with the level in force.
pub fn at(level: Level, body: fn()) {
    if level.available() {
        with_level(level, body)
    } else {
        println!("skipped: this CPU has no {}", level.name());
    }
}

/// Roughly normal numbers (four uniforms added), the same for the same seed, as f64 that are exact in f32.
pub fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut sample = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let x = state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let sum: u64 = (0..4).map(|i| (x >> (16 * i)) & 0xFFFF).sum();
        f64::from((sum as f32 - 131_070.0) * (3f32.sqrt() / 65_536.0))
    };
    let data: Vec<f64> = (0..shape.iter().product()).map(|_| sample()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

/// The tensor in f32.
pub fn single(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F32).unwrap()
}

/// The tensor in f64 as a storage dtype would have it.
pub fn stored(x: &Tensor, storage: DType) -> Tensor {
    x.to_dtype(storage).unwrap().to_dtype(DType::F64).unwrap()
}

/// The reference's result in f64.
pub fn exact(f: impl FnOnce() -> Tensor) -> Tensor {
    with_level(Level::Reference, f)
}

/// Fails where the largest error exceeds `tolerance` times the root mean square of the wanted values.
pub fn near(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    assert_eq!(got.dtype(), DType::F32, "{what}");
    let flat = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (got, want) = (flat(got), flat(want));
    let rms = (want.iter().map(|x| x * x).sum::<f64>() / want.len() as f64).sqrt();
    // A NaN fails: it is not below.
    let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, |a: f64, b| if b <= a { a } else { b });
    assert!(worst <= tolerance * rms, "{what}: {worst:e} of {rms:e}");
}

/// The root mean square of the difference, as a part of that of what was wanted.
pub fn distance(got: &Tensor, want: &Tensor) -> f64 {
    let square = |x: &Tensor| x.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap();
    (square(&(got.to_dtype(DType::F64).unwrap() - want).unwrap()) / square(want)).sqrt()
}

/// The bits of all numbers, in order.
pub fn bits(x: &Tensor) -> Vec<u32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}
