//! Linear and GEGLU against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Tensor};
use nd_kernels::Storage;
use oracle::products::{shape, Products};
use oracle::{normal, stored};
use proptest::prelude::*;

/// f32 sums of up to 5120 products of unit variance: a few times 6e-8 * sqrt(1300).
const TOLERANCE: f64 = 1e-5;

struct F32;

impl Products for F32 {
    const TOLERANCE: f64 = TOLERANCE;
    const STORAGE: Storage = Storage::Float(DType::F32);
    const REFERENCE: Storage = Storage::Float(DType::F64);
}

/// Weights of f16, which are exact in f32.
struct F16;

impl Products for F16 {
    const TOLERANCE: f64 = TOLERANCE;
    const STORAGE: Storage = Storage::Float(DType::F16);
    const REFERENCE: Storage = Storage::Float(DType::F64);

    fn weights(seed: u64, shape: &[usize]) -> Tensor {
        stored(&normal(seed, shape), DType::F16)
    }
}

/// Weights of bf16, which are exact in f32.
struct Bf16;

impl Products for Bf16 {
    const TOLERANCE: f64 = TOLERANCE;
    const STORAGE: Storage = Storage::Float(DType::BF16);
    const REFERENCE: Storage = Storage::Float(DType::F64);

    fn weights(seed: u64, shape: &[usize]) -> Tensor {
        stored(&normal(seed, shape), DType::BF16)
    }
}

fn storages() {
    for of in [(13, 36, 70), (77, 768, 64), (201, 676, 129)] {
        shape::<F16>(of);
        shape::<Bf16>(of);
    }
}

products!(F32: shapes, epilogues, geglu, rows_are_independent);
each_level!(storages);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape(m in 1usize..40, k in 1usize..200, n in 1usize..200) {
        shape::<F32>((m, k, n));
    }
}
