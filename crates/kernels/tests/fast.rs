//! `Storage::Fast`: as bytes everywhere, but convolutions of large images as Winograd's F4 in bf16 where products of it are in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, with_bf16, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Linear, Padding, Storage};
use oracle::products::SAME;
use oracle::{bits, distance, exact, near, normal, single};

/// F4 rounds both operands to bf16 after transforms that cost them another digit: 1.1e-2 of the root mean square, twice that at the corners of its tiles; the worst
/// of a hundred thousand is five times that, and SiLU takes away a third of the root mean square.
const TOLERANCE: f64 = 0.16;

/// Weights that bytes hold as they are: whole numbers up to 127, which every output has.
fn bytes(seed: u64, shape: &[usize]) -> Tensor {
    let mut rows = (normal(seed, &[shape[0], shape[1..].iter().product()]) * 40.0).unwrap().round().unwrap().to_vec2::<f64>().unwrap();
    rows.iter_mut().enumerate().for_each(|(i, row)| {
        row.iter_mut().for_each(|x| *x = x.clamp(-127.0, 127.0));
        let at = i % row.len();
        row[at] = 127.0;
    });
    Tensor::new(rows, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

fn fast(weight: &Tensor, bias: Option<&Tensor>) -> Conv2d {
    with_bf16(|| Conv2d::new(weight, bias, SAME, Storage::Fast).unwrap())
}

/// Against the convolution in f64, at every level; the reference level has bytes only, whose error is of the same size.
fn compare(inputs: &[Tensor], weight: &Tensor, what: &str, run: impl Fn(&Conv2d, &[Tensor]) -> Tensor) {
    let bias = normal(9, &[weight.dims()[0]]);
    let want = exact(|| run(&Conv2d::new(weight, Some(&bias), SAME, DType::F64).unwrap(), inputs));
    near(&run(&fast(weight, Some(&bias)), &inputs.iter().map(single).collect::<Vec<_>>()), &want, TOLERANCE, what);
}

fn images() {
    for (b, size, ci, co) in [(1, (32, 32), 64, 64), (1, (34, 37), 71, 85), (2, (28, 28), 16, 32), (1, (29, 61), 130, 66), (1, (33, 30), 18, 16)] {
        let (x, w) = (normal(1, &[b, size.0, size.1, ci]), bytes(2, &[co, ci, 3, 3]));
        compare(&[x], &w, &format!("{:?}", (b, size, ci, co)), |conv, x| conv.forward(&x[0]).unwrap());
    }
}

fn concatenated() {
    for (c1, c2, size) in [(64, 33, (36, 37)), (61, 20, (32, 32)), (3, 30, (28, 31))] {
        let (x1, x2, w) = (normal(1, &[2, size.0, size.1, c1]), normal(2, &[2, size.0, size.1, c2]), bytes(3, &[70, c1 + c2, 3, 3]));
        let epilogue = || Epilogue { activation: Some(Activation::Silu), ..Epilogue::default() };
        compare(&[x1, x2], &w, &format!("{c1}+{c2}"), |conv, x| conv.forward_concat(&x[0], &x[1], &epilogue()).unwrap());
    }
}

fn upsampled() {
    for (from, to, c) in [((17, 20), (34, 40), 33), ((17, 20), (34, 39), 64)] {
        let (x, w) = (normal(1, &[2, from.0, from.1, c]), bytes(2, &[c, c, 3, 3]));
        compare(&[x], &w, &format!("{from:?} -> {to:?}"), |conv, x| conv.forward_upsampled(&x[0], to, &Epilogue::default()).unwrap());
    }
}

/// F4's error is 4.8 times that of a direct product of bf16 (2.3e-3), for independent roundings; that of bytes, per image and per output, is as large.
fn error() {
    let (x, w) = (normal(1, &[1, 34, 37, 71]), bytes(2, &[85, 71, 3, 3]));
    let want = exact(|| Conv2d::new(&w, None, SAME, DType::F64).unwrap().forward(&x).unwrap());
    let got = distance(&fast(&w, None).forward(&single(&x)).unwrap(), &want);
    let expected = if level() == Level::Reference { 5e-3..1.6e-2 } else { 9e-3..1.3e-2 };
    assert!(expected.contains(&got), "{got}");
    // With weights that bytes do not hold.
    let w = normal(2, &[85, 71, 3, 3]);
    let want = exact(|| Conv2d::new(&w, None, SAME, DType::F64).unwrap().forward(&x).unwrap());
    let got = distance(&fast(&w, None).forward(&single(&x)).unwrap(), &want);
    assert!((7e-3..1.8e-2).contains(&got), "{got}");
}

/// The bits of `Int8` wherever F4 does not pay or is not to be had.
fn bytes_elsewhere() {
    let both = |weight: &Tensor, config, x: &Tensor| {
        let run = |storage: Storage| bits(&Conv2d::new(weight, None, config, storage).unwrap().forward(&single(x)).unwrap());
        (run(Storage::Fast), run(Storage::Int8))
    };
    let (x, w) = (normal(1, &[1, 32, 30, 40]), normal(2, &[40, 40, 3, 3]));
    let (fast, int8) = both(&w, SAME, &x);
    assert!(fast == int8, "without products of bf16");
    let (fast, int8) = with_bf16(|| both(&w, SAME, &x));
    assert!((fast == int8) == (level() == Level::Reference), "with them");
    for (side, kernel, config) in [(27, 3, SAME), (32, 3, Conv2dConfig { stride: 2, padding: Padding::Same(1) }), (32, 1, Conv2dConfig::default())] {
        let (x, w) = (normal(1, &[1, side, 32, 40]), normal(2, &[40, 40, kernel, kernel]));
        let (fast, int8) = with_bf16(|| both(&w, config, &x));
        assert!(fast == int8, "side {side}, kernel {kernel}, {config:?}");
    }
    let (x, w) = (single(&normal(1, &[45, 333])), normal(2, &[75, 333]));
    let run = |storage: Storage| bits(&with_bf16(|| Linear::new(&w, None, storage).unwrap()).forward(&x).unwrap());
    assert!(run(Storage::Fast) == run(Storage::Int8), "linear");
}

each_level!(images, concatenated, upsampled, error, bytes_elsewhere);

#[test]
fn what_is_no_large_product_is_bf16_where_that_is_multiplied() {
    with_level(Level::Scalar, || {
        assert_eq!((Storage::Int8.float(), Storage::Fast.float()), (DType::F16, DType::F16));
        with_bf16(|| assert_eq!((Storage::Int8.float(), Storage::Fast.float()), (DType::F16, DType::BF16)));
    });
}
