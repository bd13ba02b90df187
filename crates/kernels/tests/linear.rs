//! Linear and GEGLU against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Tensor};
use nd_kernels::{Activation, Epilogue, Geglu, Linear};
use oracle::{exact, near, normal, single, stored};
use proptest::prelude::*;

/// (rows, in, out): SD1.5's time embedding and projections cut down, the built-in model's widths, and sizes that fill nothing.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 320, 1280),
    (64, 320, 320),
    (77, 768, 64),
    (256, 96, 96),
    (256, 160, 640),
    (100, 32, 96),
    (13, 36, 70),
    (1, 1, 1),
    (7, 5, 3),
    (6, 331, 17),
    (201, 676, 129),
    (2, 1281, 80),
];

/// f32 sums of up to 1300 products of unit variance: a few times 6e-8 * sqrt(1300).
const TOLERANCE: f64 = 1e-5;

fn compare(m: usize, k: usize, n: usize, storage: DType) {
    let (x, w, b) = (normal(1, &[m, k]), stored(&normal(2, &[n, k]), storage), normal(3, &[n]));
    let want = exact(|| Linear::new(&w, Some(&b), DType::F64).unwrap().forward(&x).unwrap());
    let linear = Linear::new(&w, Some(&b), storage).unwrap();
    assert_eq!((linear.in_features(), linear.out_features()), (k, n));
    near(&linear.forward(&single(&x)).unwrap(), &want, tolerance(storage), &format!("{m}x{k}x{n} {storage:?}"));
}

/// The reference level multiplies f32 by weights converted from their storage; all of them are exact in f32.
fn tolerance(_storage: DType) -> f64 {
    TOLERANCE
}

fn shapes() {
    for (m, k, n) in SHAPES {
        compare(m, k, n, DType::F32);
    }
}

fn storages() {
    for storage in [DType::F16, DType::BF16] {
        for (m, k, n) in [(13, 36, 70), (77, 768, 64), (201, 676, 129)] {
            compare(m, k, n, storage);
        }
    }
}

fn epilogues() {
    let (b, l, k, n) = (2, 9, 40, 70);
    let (x, w, bias) = (normal(1, &[b, l, k]), normal(2, &[n, k]), normal(3, &[n]));
    let (residual, per_sample) = (normal(4, &[b, l, n]), normal(5, &[b, n]));
    let all = [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu, Activation::Mish];
    for activation in all.map(Some).into_iter().chain([None]) {
        let run = |x: &Tensor, residual: &Tensor, per_sample: &Tensor, storage| {
            let epilogue = Epilogue { residual: Some(residual), per_sample: Some(per_sample), activation, scale: 0.7 };
            Linear::new(&w, Some(&bias), storage).unwrap().forward_with(x, &epilogue).unwrap()
        };
        let want = exact(|| run(&x, &residual, &per_sample, DType::F64));
        let got = run(&single(&x), &single(&residual), &single(&per_sample), DType::F32);
        near(&got, &want, TOLERANCE, &format!("{activation:?}"));
    }
}

fn geglu() {
    for (m, k, inner) in [(64, 40, 96), (13, 36, 70), (1, 7, 3), (256, 96, 384), (5, 330, 160)] {
        let (x, w, b) = (normal(1, &[m, k]), normal(2, &[2 * inner, k]), normal(3, &[2 * inner]));
        let want = exact(|| Geglu::new(&w, Some(&b), DType::F64).unwrap().forward(&x).unwrap());
        let got = Geglu::new(&w, Some(&b), DType::F32).unwrap().forward(&single(&x)).unwrap();
        near(&got, &want, TOLERANCE, &format!("{m}x{k}x{inner}"));
    }
}

/// A row's result does not depend on the rows around it, so a batch gives what its samples give alone.
fn rows_are_independent() {
    let (x, w) = (single(&normal(1, &[203, 330])), normal(2, &[150, 330]));
    let linear = Linear::new(&w, None, DType::F32).unwrap();
    let all = linear.forward(&x).unwrap().to_vec2::<f32>().unwrap();
    if nd_kernels::cpu::level() != nd_kernels::cpu::Level::Reference {
        for i in [0, 101, 202] {
            assert_eq!(linear.forward(&x.narrow(0, i, 1).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0], all[i]);
        }
    }
}

each_level!(shapes, storages, epilogues, geglu, rows_are_independent);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_shape(m in 1usize..40, k in 1usize..200, n in 1usize..200) {
        compare(m, k, n, DType::F32);
    }
}
