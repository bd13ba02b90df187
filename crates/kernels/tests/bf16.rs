//! Products of bf16 against the reference in f64. Inputs that are bf16 numbers already lose nothing, so that only sums in f32 differ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, multiplies_bf16, name, with_bf16, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Linear, Storage};
use oracle::products::{convolve, linear, Products, DOWN, SAME};
use oracle::{bits, distance, exact, normal, single, stored};

/// f32 sums of up to 2900 products of unit variance, as of f32 numbers.
const TOLERANCE: f64 = 2e-5;
/// Winograd's F2 rounds both operands after their transforms: 3.8e-3 of the root mean square, the worst of a hundred thousand is six times that, and SiLU takes away
/// a third of the root mean square.
const TOLERANCE_F2: f64 = 3.5e-2;
/// Four taps of the up-sampled form are rounded sums of two or four, by 1.1e-3.
const TOLERANCE_PHASES: f64 = 1e-2;

/// Numbers that bf16 holds.
fn brain(seed: u64, shape: &[usize]) -> Tensor {
    stored(&normal(seed, shape), DType::BF16)
}

struct Bf16;

impl Products for Bf16 {
    const TOLERANCE: f64 = TOLERANCE;
    const STORAGE: Storage = Storage::Float(DType::BF16);
    const REFERENCE: Storage = Storage::Float(DType::F64);

    fn inputs(seed: u64, shape: &[usize]) -> Tensor {
        brain(seed, shape)
    }

    fn weights(seed: u64, shape: &[usize]) -> Tensor {
        brain(seed, shape)
    }

    fn made<L>(make: impl FnOnce() -> L) -> L {
        with_bf16(make)
    }
}

/// Inputs of f32 give the bits of inputs that were rounded before; the reference does not round.
fn inputs_are_rounded() {
    let (x, w) = (normal(1, &[45, 333]), normal(2, &[75, 333]));
    if level() != Level::Reference {
        // From f32: the conversion of f64 loses what decides ties.
        let rounded = stored(&single(&x), DType::BF16);
        let [rounded, not] = [rounded, x].map(|x| bits(&linear::<Bf16>(&w).forward(&single(&x)).unwrap()));
        assert!(rounded == not);
    }
}

/// How far a product of bf16 is from the product of the numbers: each side is off by 2^-9 of a power of two at most, evenly, so by 1.6e-3 of itself on average.
fn error() {
    let (x, w) = (normal(1, &[64, 640]), normal(2, &[96, 640]));
    let want = exact(|| Linear::new(&w, None, DType::F64).unwrap().forward(&x).unwrap());
    let got = linear::<Bf16>(&w).forward(&single(&x)).unwrap();
    let relative = distance(&got, &want);
    // The reference keeps bf16 weights, but multiplies inputs as they are.
    let expected = if level() == Level::Reference { 1.2e-3..2e-3 } else { 2e-3..2.6e-3 };
    assert!(expected.contains(&relative), "{relative}");
}

/// Infinities and NaN come through, and what is beside an odd last channel does not.
fn extremes() {
    let w = brain(1, &[5, 7]);
    let run = |row: [f32; 7]| linear::<Bf16>(&w).forward(&Tensor::new(&[row], &Device::Cpu).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0].clone();
    assert!(run([f32::NAN; 7]).iter().all(|y| y.is_nan()));
    assert!(run([1.0, f32::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| y.is_infinite()));
    assert_eq!(run([0.0; 7]), [0.0; 5]);
    assert!(run([1e38, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_nan()));
}

fn convolutions() {
    for (b, size, ci, co, kernel, config) in [
        (2, (8, 8), 128, 96, 3, SAME),
        (2, (16, 16), 64, 80, 3, DOWN),
        (1, (5, 7), 37, 19, 3, SAME),
        (2, (9, 4), 30, 70, 1, Conv2dConfig::default()),
        (1, (3, 3), 1, 1, 3, SAME),
        (3, (6, 6), 21, 5, 5, SAME),
        (1, (9, 10), 33, 4, 3, SAME),
        (2, (16, 16), 4, 32, 3, SAME),
    ] {
        let (x, w) = (brain(1, &[b, size.0, size.1, ci]), brain(2, &[co, ci, kernel, kernel]));
        convolve::<Bf16>(&[x], &w, config, TOLERANCE, &format!("{:?}", (b, size, ci, co, kernel)), |conv, x| conv.forward(&x[0]).unwrap());
    }
}

fn winograd() {
    for (b, size, ci, co) in [(1, (32, 32), 64, 64), (1, (34, 37), 71, 85), (2, (16, 16), 32, 32), (1, (12, 13), 256, 260), (2, (8, 9), 260, 256)] {
        let (x, w) = (brain(1, &[b, size.0, size.1, ci]), brain(2, &[co, ci, 3, 3]));
        convolve::<Bf16>(&[x], &w, SAME, TOLERANCE_F2, &format!("{:?}", (b, size, ci, co)), |conv, x| conv.forward(&x[0]).unwrap());
    }
    // Sharper than the worst value.
    let (x, w) = (brain(1, &[1, 34, 37, 71]), brain(2, &[85, 71, 3, 3]));
    let want = exact(|| Conv2d::new(&w, None, SAME, DType::F64).unwrap().forward(&x).unwrap());
    let got = with_bf16(|| Conv2d::new(&w, None, SAME, DType::BF16).unwrap()).forward(&single(&x)).unwrap();
    let expected = if level() == Level::Reference { 0.0..1e-6 } else { 3e-3..4.5e-3 };
    assert!(expected.contains(&distance(&got, &want)), "{}", distance(&got, &want));
    // F6, in f32: its error of 6e-6, and more than ten times that as the worst of a million.
    let (x, w) = (brain(1, &[1, 131, 130, 64]), brain(2, &[66, 64, 3, 3]));
    convolve::<Bf16>(&[x], &w, SAME, 1e-4, "131x130", |conv, x| conv.forward(&x[0]).unwrap());
}

fn concatenated() {
    for (c1, c2, size, tolerance) in [
        (16, 16, (8, 8), TOLERANCE),
        (100, 37, (5, 6), TOLERANCE),
        (3, 200, (4, 4), TOLERANCE),
        (64, 33, (36, 37), TOLERANCE_F2),
        (61, 20, (32, 32), TOLERANCE_F2),
    ] {
        let (x1, x2, w) = (brain(1, &[2, size.0, size.1, c1]), brain(2, &[2, size.0, size.1, c2]), brain(3, &[70, c1 + c2, 3, 3]));
        let epilogue = || Epilogue { activation: Some(Activation::Silu), ..Epilogue::default() };
        convolve::<Bf16>(&[x1, x2], &w, SAME, tolerance, &format!("{c1}+{c2}"), |conv, x| conv.forward_concat(&x[0], &x[1], &epilogue()).unwrap());
    }
}

fn upsampled() {
    for (from, to, c, tolerance) in [
        ((4, 5), (8, 10), 41, TOLERANCE_PHASES),
        ((4, 5), (7, 9), 40, TOLERANCE),
        ((17, 20), (34, 40), 33, TOLERANCE_F2),
        ((17, 20), (34, 39), 64, TOLERANCE_F2),
    ] {
        let (x, w) = (brain(1, &[2, from.0, from.1, c]), brain(2, &[c, c, 3, 3]));
        let up = |conv: &Conv2d, x: &[Tensor]| conv.forward_upsampled(&x[0], to, &Epilogue::default()).unwrap();
        convolve::<Bf16>(&[x], &w, SAME, tolerance, &format!("{from:?} -> {to:?}"), up);
    }
}

products!(Bf16: shapes, epilogues, geglu, rows_are_independent, levels_agree);
each_level!(inputs_are_rounded, error, extremes, convolutions, winograd, concatenated, upsampled);

#[test]
fn a_weight_takes_two_bytes() {
    with_level(Level::Scalar, || assert_eq!(linear::<Bf16>(&normal(1, &[64, 320])).bytes(), 2 * 64 * 320));
}

#[test]
fn products_of_bf16_are_asked_for_by_name() {
    with_level(Level::Scalar, || {
        assert_eq!((multiplies_bf16(), name().as_str()), (false, "scalar"));
        with_bf16(|| assert_eq!((multiplies_bf16(), name().as_str()), (true, "scalar+bf16")));
    });
    with_level(Level::Reference, || with_bf16(|| assert_eq!((multiplies_bf16(), name().as_str()), (false, "reference"))));
}
