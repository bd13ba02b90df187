//! Convolution in all its forms against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Tensor};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Padding};
use oracle::{exact, near, normal, single, stored};
use proptest::prelude::*;

/// f32 sums of up to 2900 products of unit variance; Winograd's F2 and F4 (error 1.5e-6 RMS, about ten times that at worst) stay below it as well.
const TOLERANCE: f64 = 2e-5;
/// From 128 pixels on F6 serves: error 6e-6 RMS, and more than ten times that as the worst of a million.
const TOLERANCE_F6: f64 = 1e-4;

const SAME: Conv2dConfig = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
const DOWN: Conv2dConfig = Conv2dConfig { stride: 2, padding: Padding::Same(1) };
const VAE_DOWN: Conv2dConfig = Conv2dConfig { stride: 2, padding: Padding::Asymmetric { top: 0, left: 0, bottom: 1, right: 1 } };
const POINT: Conv2dConfig = Conv2dConfig { stride: 1, padding: Padding::Same(0) };

fn image(seed: u64, b: usize, (h, w): (usize, usize), c: usize) -> Tensor {
    normal(seed, &[b, h, w, c])
}

fn compare(b: usize, size: (usize, usize), ci: usize, co: usize, kernel: (usize, usize), config: Conv2dConfig, storage: DType) {
    let (x, w, bias) = (image(1, b, size, ci), stored(&normal(2, &[co, ci, kernel.0, kernel.1]), storage), normal(3, &[co]));
    let want = exact(|| Conv2d::new(&w, Some(&bias), config, DType::F64).unwrap().forward(&x).unwrap());
    let got = Conv2d::new(&w, Some(&bias), config, storage).unwrap().forward(&single(&x)).unwrap();
    let tolerance = if size.0.min(size.1) >= 128 { TOLERANCE_F6 } else { TOLERANCE };
    near(&got, &want, tolerance, &format!("{b}x{size:?} {ci}->{co} {kernel:?} {config:?} {storage:?}"));
}

fn shapes() {
    // conv_in, conv_out of the UNet and VAE, the built-in model's layers, then odd ones.
    for (b, size, ci, co) in [
        (2, (16, 16), 4, 32),
        (2, (16, 16), 32, 4),
        (1, (33, 40), 16, 3),
        (2, (16, 16), 96, 96),
        (1, (8, 8), 160, 96),
        (1, (8, 8), 320, 64),
        (2, (7, 7), 16, 20),
        (1, (5, 9), 33, 65),
        (1, (1, 1), 3, 5),
        (3, (2, 13), 1, 1),
    ] {
        for config in [SAME, DOWN, VAE_DOWN] {
            if size != (1, 1) || config == SAME {
                compare(b, size, ci, co, (3, 3), config, DType::F32);
            }
        }
        compare(b, size, ci, co, (1, 1), POINT, DType::F32);
    }
}

fn large() {
    // Enough pixels and channels for every special form.
    let sizes = [((32, 32), 64, 64), ((34, 37), 70, 85), ((64, 64), 32, 32), ((33, 32), 80, 50), ((12, 13), 256, 260), ((131, 130), 64, 66)];
    for (size, ci, co) in sizes {
        compare(1, size, ci, co, (3, 3), SAME, DType::F32);
    }
    compare(2, (32, 32), 64, 64, (3, 3), SAME, DType::F16);
    // Weights too large to be kept: made next to their products, and group by group.
    for storage in [DType::F32, DType::F16, DType::BF16] {
        compare(2, (8, 9), 260, 256, (3, 3), SAME, storage);
    }
    compare(1, (48, 49), 176, 180, (3, 3), SAME, DType::F32);
}

fn kernels_and_storages() {
    let lopsided = Conv2dConfig { stride: 3, padding: Padding::Asymmetric { top: 2, left: 0, bottom: 1, right: 3 } };
    for kernel in [(5, 5), (1, 3), (2, 2), (7, 1)] {
        compare(2, (9, 11), 12, 18, kernel, POINT, DType::F32);
        compare(1, (9, 11), 12, 18, kernel, lopsided, DType::F32);
    }
    for storage in [DType::F16, DType::BF16] {
        compare(2, (9, 11), 40, 70, (3, 3), SAME, storage);
    }
}

fn epilogue() {
    let (b, size, ci, co) = (2, (6, 7), 20, 70);
    let (x, w) = (image(1, b, size, ci), normal(2, &[co, ci, 3, 3]));
    let (residual, per_sample) = (image(4, b, size, co), normal(5, &[b, co]));
    let run = |x: &Tensor, residual: &Tensor, per_sample: &Tensor, storage| {
        let epilogue = Epilogue { residual: Some(residual), per_sample: Some(per_sample), activation: Some(Activation::Silu), scale: 0.7 };
        Conv2d::new(&w, None, SAME, storage).unwrap().forward_with(x, &epilogue).unwrap()
    };
    let want = exact(|| run(&x, &residual, &per_sample, DType::F64));
    let got = run(&single(&x), &single(&residual), &single(&per_sample), DType::F32);
    near(&got, &want, TOLERANCE, "epilogue");
}

fn concat() {
    for (c1, c2, size) in [(16, 16, (8, 8)), (100, 37, (5, 6)), (3, 200, (4, 4)), (160, 160, (6, 6)), (64, 33, (36, 37)), (60, 20, (32, 32))] {
        let (x1, x2) = (image(1, 2, size, c1), image(2, 2, size, c2));
        for (kernel, config) in [((3, 3), SAME), ((1, 1), POINT)] {
            let w = normal(3, &[70, c1 + c2, kernel.0, kernel.1]);
            let run = |x1: &Tensor, x2: &Tensor, storage| {
                Conv2d::new(&w, None, config, storage).unwrap().forward_concat(x1, x2, &Epilogue::default()).unwrap()
            };
            let want = exact(|| run(&x1, &x2, DType::F64));
            near(&run(&single(&x1), &single(&x2), DType::F32), &want, TOLERANCE, &format!("{c1}+{c2} {kernel:?}"));
        }
    }
}

fn upsampled() {
    for (from, to, c) in [((4, 5), (8, 10), 40), ((4, 5), (7, 9), 40), ((3, 3), (8, 5), 40), ((17, 20), (34, 40), 33), ((17, 20), (34, 39), 64)] {
        let (x, w, bias) = (image(1, 2, from, c), normal(2, &[c, c, 3, 3]), normal(3, &[c]));
        let per_sample = normal(4, &[2, c]);
        let run = |x: &Tensor, per_sample: &Tensor, storage| {
            let epilogue = Epilogue { per_sample: Some(per_sample), ..Epilogue::default() };
            Conv2d::new(&w, Some(&bias), SAME, storage).unwrap().forward_upsampled(x, to, &epilogue).unwrap()
        };
        let want = exact(|| run(&x, &per_sample, DType::F64));
        near(&run(&single(&x), &single(&per_sample), DType::F32), &want, TOLERANCE, &format!("{from:?} -> {to:?}"));
    }
}

each_level!(shapes, large, kernels_and_storages, epilogue, concat, upsampled);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape(h in 1usize..12, w in 1usize..12, ci in 1usize..40, co in 1usize..40, kh in 1usize..4, kw in 1usize..4, stride in 1usize..4,
                 top in 0usize..3, left in 0usize..3, bottom in 0usize..3, right in 0usize..3) {
        prop_assume!(h + top + bottom >= kh && w + left + right >= kw);
        let config = Conv2dConfig { stride, padding: Padding::Asymmetric { top, left, bottom, right } };
        compare(2, (h, w), ci, co, (kh, kw), config, DType::F32);
    }
}
