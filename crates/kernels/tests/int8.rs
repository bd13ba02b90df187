//! Linear and GEGLU in bytes against the reference that rounds inputs and weights in candle ops and multiplies in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Linear, Padding, Storage};
use oracle::products::{convolve, linear, Products, SAME, SHAPES};
use oracle::{bits, distance, exact, normal, single};

struct Int8;

impl Products for Int8 {
    /// The bytes are the same and their sums exact: what is left are scales in f32, and at the reference level sums in f32 as in `linear`.
    const TOLERANCE: f64 = 1e-5;
    const STORAGE: Storage = Storage::Int8;
    const REFERENCE: Storage = Storage::Int8;
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
        let got = linear::<Int8>(&w).forward(&single(&x)).unwrap().to_dtype(DType::F64).unwrap();
        // Sums of more than 2^24 do not fit into an f32.
        let worst = (got - &want).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        let largest = want.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(worst <= (largest * 2f64.powi(-24)).floor(), "{m}x{k}x{n}: {worst} of {largest}");
    }
}

/// How far a product of bytes is from the product of the numbers: the root of a twelfth of a step on each side, steps of 1/127 of the largest of a row.
fn error() {
    let (x, w) = (normal(1, &[64, 640]), normal(2, &[96, 640]));
    let want = exact(|| Linear::new(&w, None, DType::F64).unwrap().forward(&x).unwrap());
    let relative = distance(&linear::<Int8>(&w).forward(&single(&x)).unwrap(), &want);
    // Largest of 640 numbers of this distribution: 3.1 deviations; two sides: sqrt(2 / 12) * 3.1 / 127 = 0.0099.
    assert!((0.008..0.012).contains(&relative), "{relative}");
}

/// Rows of zeros, of one huge number, of tiny ones, and of none that is finite.
fn extremes() {
    let w = normal(1, &[5, 6]);
    let run = |row: [f32; 6]| linear::<Int8>(&w).forward(&Tensor::new(&[row], &Device::Cpu).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0].clone();
    assert_eq!(run([0.0; 6]), [0.0; 5]);
    assert!(run([1e38, 0.0, 0.0, 0.0, 0.0, -1e38]).iter().all(|y| y.is_finite()));
    assert!(run([1e-20, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| *y != 0.0 && y.abs() < 1e-18));
    assert!(run([1e-40, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| y.abs() < 1e-38));
    if level() != Level::Reference {
        assert!(run([f32::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_finite()));
        assert!(run([1.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_finite()));
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
        let (x, weight) = ([normal(1, &[b, h, w, ci])], normal(2, &[co, ci, kernel, kernel]));
        let config = Conv2dConfig { stride, padding: Padding::Same(kernel / 2) };
        let what = format!("{:?}", (b, h, w, ci, co, kernel, stride));
        convolve::<Int8>(&x, &weight, config, Int8::TOLERANCE, &what, |conv, x| conv.forward(&x[0]).unwrap());
        if h < 20 {
            let up = |conv: &Conv2d, x: &[Tensor]| conv.forward_upsampled(&x[0], (2 * h, 2 * w), &Epilogue::default()).unwrap();
            convolve::<Int8>(&x, &weight, config, Int8::TOLERANCE, &format!("{what} up-sampled"), up);
        }
    }
}

fn concatenated() {
    for (c1, c2) in [(32, 64), (20, 44), (7, 3)] {
        let (inputs, weight) = ([normal(1, &[2, 6, 9, c1]), normal(2, &[2, 6, 9, c2])], normal(3, &[40, c1 + c2, 3, 3]));
        let epilogue = || Epilogue { activation: Some(Activation::Silu), ..Default::default() };
        convolve::<Int8>(&inputs, &weight, SAME, Int8::TOLERANCE, &format!("{c1}+{c2}"), |conv, x| {
            conv.forward_concat(&x[0], &x[1], &epilogue()).unwrap()
        });
    }
}

/// An image's result does not depend on the images around it.
fn images_are_independent() {
    let (x, weight) = (single(&normal(1, &[2, 12, 10, 40])), normal(2, &[50, 40, 3, 3]));
    let run = |x: &Tensor| bits(&Conv2d::new(&weight, None, SAME, Storage::Int8).unwrap().forward(x).unwrap());
    if level() != Level::Reference {
        let all = run(&x);
        assert_eq!(run(&x.narrow(0, 1, 1).unwrap()), all[all.len() / 2..]);
    }
}

products!(Int8: shapes, epilogues, geglu, rows_are_independent, levels_agree);
each_level!(convolutions, concatenated, images_are_independent, whole_numbers, error, extremes);

#[test]
fn a_weight_takes_a_byte() {
    with_level(Level::Scalar, || assert_eq!(linear::<Int8>(&normal(1, &[64, 320])).bytes(), 64 * 320 + 64 * 8));
}
