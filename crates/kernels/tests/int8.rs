//! Linear and GEGLU in bytes against the reference that rounds inputs and weights in candle ops and multiplies in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Geglu, Linear, Padding, Storage};
use oracle::{exact, near, normal, single};

/// (rows, in, out): SD1.5's projections cut down, the built-in model's widths, and sizes that fill no quad, lane, tile, panel or chunk.
const SHAPES: [(usize, usize, usize); 14] = [
    (64, 320, 320),
    (77, 768, 64),
    (256, 96, 96),
    (256, 160, 640),
    (100, 32, 96),
    (30, 1280, 128),
    (13, 36, 70),
    (1, 1, 1),
    (7, 5, 3),
    (6, 331, 17),
    (201, 676, 129),
    (2, 1281, 80),
    (5, 2563, 9),
    (64, 5120, 16),
];

/// The bytes are the same and their sums exact: what is left are scales in f32, and at the reference level sums in f32 as in `linear`.
const TOLERANCE: f64 = 1e-5;

fn int8(w: &Tensor, b: Option<&Tensor>) -> Linear {
    Linear::new(w, b, Storage::Int8).unwrap()
}

fn shapes() {
    for (m, k, n) in SHAPES {
        let (x, w, b) = (normal(1, &[m, k]), normal(2, &[n, k]), normal(3, &[n]));
        let want = exact(|| int8(&w, Some(&b)).forward(&x).unwrap());
        near(&int8(&w, Some(&b)).forward(&single(&x)).unwrap(), &want, TOLERANCE, &format!("{m}x{k}x{n}"));
    }
}

/// Whole numbers up to 127 are bytes as they are: the product is exact, at every level the same.
fn whole_numbers() {
    for (m, k, n) in SHAPES {
        let whole = |seed, rows: usize| {
            let mut values = (normal(seed, &[rows, k]) * 40.0).unwrap().clamp(-127.0, 127.0).unwrap().round().unwrap().to_vec2::<f64>().unwrap();
            values.iter_mut().enumerate().for_each(|(i, row)| row[i % k] = if i % 2 == 0 { 127.0 } else { -127.0 });
            Tensor::new(values, &Device::Cpu).unwrap()
        };
        let (x, w) = (whole(1, m), whole(2, n));
        let want = x.matmul(&w.t().unwrap()).unwrap();
        let got = int8(&w, None).forward(&single(&x)).unwrap().to_dtype(DType::F64).unwrap();
        // Sums of more than 2^24 do not fit into an f32.
        let worst = (got - &want).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        let largest = want.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(worst <= (largest * 2f64.powi(-24)).floor(), "{m}x{k}x{n}: {worst} of {largest}");
    }
}

/// The same bits at every level of this machine: the integers are the same, and what follows them is one multiplication.
fn levels_agree() {
    let (x, w) = (single(&normal(1, &[45, 333])), normal(2, &[75, 333]));
    let run = || int8(&w, None).forward(&x).unwrap().to_vec2::<f32>().unwrap();
    if level() != Level::Reference {
        assert_eq!(run(), with_level(Level::Scalar, run));
    }
}

fn epilogues() {
    let (b, l, k, n) = (2, 9, 40, 70);
    let (x, w, bias) = (normal(1, &[b, l, k]), normal(2, &[n, k]), normal(3, &[n]));
    let (residual, per_sample) = (normal(4, &[b, l, n]), normal(5, &[b, n]));
    for activation in [Some(Activation::Silu), Some(Activation::QuickGelu), None] {
        let run = |x: &Tensor, residual: &Tensor, per_sample: &Tensor| {
            let epilogue = Epilogue { residual: Some(residual), per_sample: Some(per_sample), activation, scale: 0.7 };
            int8(&w, Some(&bias)).forward_with(x, &epilogue).unwrap()
        };
        let want = exact(|| run(&x, &residual, &per_sample));
        near(&run(&single(&x), &single(&residual), &single(&per_sample)), &want, TOLERANCE, &format!("{activation:?}"));
    }
}

fn geglu() {
    for (m, k, inner) in [(64, 40, 96), (13, 36, 70), (1, 7, 3), (256, 96, 384), (5, 330, 160)] {
        let (x, w, b) = (normal(1, &[m, k]), normal(2, &[2 * inner, k]), normal(3, &[2 * inner]));
        let run = |x: &Tensor| Geglu::new(&w, Some(&b), Storage::Int8).unwrap().forward(x).unwrap();
        near(&run(&single(&x)), &exact(|| run(&x)), TOLERANCE, &format!("{m}x{k}x{inner}"));
    }
}

/// How far a product of bytes is from the product of the numbers: the root of a twelfth of a step on each side, steps of 1/127 of the largest of a row.
fn error() {
    let (x, w) = (normal(1, &[64, 640]), normal(2, &[96, 640]));
    let want = exact(|| Linear::new(&w, None, DType::F64).unwrap().forward(&x).unwrap());
    let got = int8(&w, None).forward(&single(&x)).unwrap().to_dtype(DType::F64).unwrap();
    let square = |x: &Tensor| x.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap();
    let relative = (square(&(got - &want).unwrap()) / square(&want)).sqrt();
    // Largest of 640 numbers of this distribution: 3.1 deviations; two sides: sqrt(2 / 12) * 3.1 / 127 = 0.0099.
    assert!((0.008..0.012).contains(&relative), "{relative}");
}

/// Rows of zeros, of one huge number, of tiny ones, and of none that is finite.
fn extremes() {
    let w = normal(1, &[5, 6]);
    let run = |row: [f32; 6]| int8(&w, None).forward(&Tensor::new(&[row], &Device::Cpu).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0].clone();
    assert_eq!(run([0.0; 6]), [0.0; 5]);
    assert!(run([1e38, 0.0, 0.0, 0.0, 0.0, -1e38]).iter().all(|y| y.is_finite()));
    assert!(run([1e-20, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| *y != 0.0 && y.abs() < 1e-18));
    assert!(run([1e-40, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| y.abs() < 1e-38));
    if level() != Level::Reference {
        assert!(run([f32::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_finite()));
        assert!(run([1.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_finite()));
    }
}

/// A row's result does not depend on the rows around it.
fn rows_are_independent() {
    let (x, w) = (single(&normal(1, &[203, 330])), normal(2, &[150, 330]));
    let linear = int8(&w, None);
    let all = linear.forward(&x).unwrap().to_vec2::<f32>().unwrap();
    if level() != Level::Reference {
        for i in [0, 101, 202] {
            assert_eq!(linear.forward(&x.narrow(0, i, 1).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0], all[i]);
        }
    }
}

/// (batch, height, width, in, out, kernel, stride): SD1.5's low resolutions cut down, 1x1, and sizes that fill nothing.
const IMAGES: [(usize, usize, usize, usize, usize, usize, usize); 7] = [
    (2, 8, 8, 128, 96, 3, 1),
    (2, 16, 16, 64, 80, 3, 2),
    (1, 5, 7, 37, 19, 3, 1),
    (2, 9, 4, 30, 70, 1, 1),
    (1, 3, 3, 1, 1, 3, 1),
    (3, 6, 6, 20, 3, 5, 1),
    (1, 66, 64, 64, 64, 3, 1),
];

fn convolutions() {
    for (b, h, w, ci, co, kernel, stride) in IMAGES {
        let (x, weight, bias) = (normal(1, &[b, h, w, ci]), normal(2, &[co, ci, kernel, kernel]), normal(3, &[co]));
        let config = Conv2dConfig { stride, padding: Padding::Same(kernel / 2) };
        let conv = || Conv2d::new(&weight, Some(&bias), config, Storage::Int8).unwrap();
        let what = format!("{:?}", (b, h, w, ci, co, kernel, stride));
        near(&conv().forward(&single(&x)).unwrap(), &exact(|| conv().forward(&x).unwrap()), TOLERANCE, &what);
        let up = |x: &Tensor| conv().forward_upsampled(x, (2 * h, 2 * w), &Epilogue::default()).unwrap();
        if h < 20 {
            near(&up(&single(&x)), &exact(|| up(&x)), TOLERANCE, &format!("{what} up-sampled"));
        }
    }
}

fn concatenated() {
    for (c1, c2) in [(32, 64), (20, 44), (7, 3)] {
        let (x1, x2, weight) = (normal(1, &[2, 6, 9, c1]), normal(2, &[2, 6, 9, c2]), normal(3, &[40, c1 + c2, 3, 3]));
        let config = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
        let run = |x1: &Tensor, x2: &Tensor| {
            let conv = Conv2d::new(&weight, None, config, Storage::Int8).unwrap();
            conv.forward_concat(x1, x2, &Epilogue { activation: Some(Activation::Silu), ..Default::default() }).unwrap()
        };
        near(&run(&single(&x1), &single(&x2)), &exact(|| run(&x1, &x2)), TOLERANCE, &format!("{c1}+{c2}"));
    }
}

/// An image's result does not depend on the images around it.
fn images_are_independent() {
    let (x, weight) = (single(&normal(1, &[2, 12, 10, 40])), normal(2, &[50, 40, 3, 3]));
    let config = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
    let run = |x: &Tensor| Conv2d::new(&weight, None, config, Storage::Int8).unwrap().forward(x).unwrap().flatten_all().unwrap().to_vec1::<f32>();
    if level() != Level::Reference {
        let all = run(&x).unwrap();
        assert_eq!(run(&x.narrow(0, 1, 1).unwrap()).unwrap(), all[all.len() / 2..]);
    }
}

each_level!(
    convolutions,
    concatenated,
    images_are_independent,
    shapes,
    whole_numbers,
    levels_agree,
    epilogues,
    geglu,
    error,
    extremes,
    rows_are_independent
);

#[test]
fn a_weight_takes_a_byte() {
    with_level(Level::Scalar, || assert_eq!(int8(&normal(1, &[64, 320]), None).bytes(), 64 * 320 + 64 * 8));
}
