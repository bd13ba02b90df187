//! Products of bf16 against the reference in f64. Inputs that are bf16 numbers already lose nothing, so that only sums in f32 differ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, multiplies_bf16, name, with_bf16, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Geglu, Linear, Padding};
use oracle::{exact, near, normal, single, stored};

const STORAGE: DType = DType::BF16;

/// f32 sums of up to 2900 products of unit variance, as of f32 numbers.
const TOLERANCE: f64 = 2e-5;
/// Winograd's F2 rounds both operands after their transforms: 3.8e-3 of the root mean square, the worst of a hundred thousand is six times that, and SiLU takes away
/// a third of the root mean square.
const TOLERANCE_F2: f64 = 3.5e-2;
/// Four taps of the up-sampled form are rounded sums of two or four, by 1.1e-3.
const TOLERANCE_PHASES: f64 = 1e-2;

const SAME: Conv2dConfig = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
const DOWN: Conv2dConfig = Conv2dConfig { stride: 2, padding: Padding::Same(1) };

/// Numbers that bf16 holds.
fn brain(seed: u64, shape: &[usize]) -> Tensor {
    stored(&normal(seed, shape), STORAGE)
}

/// (rows, in, out): as in `linear`, and sizes that fill no pair, lane, tile, panel or chunk.
const SHAPES: [(usize, usize, usize); 13] = [
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
    (5, 2563, 9),
    (1300, 51, 33),
];

fn shapes() {
    for (m, k, n) in SHAPES {
        let (x, w, b) = (brain(1, &[m, k]), brain(2, &[n, k]), normal(3, &[n]));
        let want = exact(|| Linear::new(&w, Some(&b), DType::F64).unwrap().forward(&x).unwrap());
        let got = with_bf16(|| Linear::new(&w, Some(&b), STORAGE).unwrap()).forward(&single(&x)).unwrap();
        near(&got, &want, TOLERANCE, &format!("{m}x{k}x{n}"));
    }
}

fn linear(w: &Tensor) -> Linear {
    with_bf16(|| Linear::new(w, None, STORAGE).unwrap())
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Inputs of f32 give the bits of inputs that were rounded before; the reference does not round.
fn inputs_are_rounded() {
    let (x, w) = (normal(1, &[45, 333]), normal(2, &[75, 333]));
    if level() != Level::Reference {
        // From f32: the conversion of f64 loses what decides ties.
        let rounded = stored(&single(&x), STORAGE);
        let [rounded, not] = [rounded, x].map(|x| bits(&linear(&w).forward(&single(&x)).unwrap()));
        assert!(rounded == not);
    }
}

/// The same bits at every level: by the instruction where there is one, and in software.
fn levels_agree() {
    let (x, w) = (single(&normal(1, &[45, 333])), normal(2, &[75, 333]));
    let image = single(&normal(3, &[2, 9, 11, 37]));
    let kernel = normal(4, &[40, 37, 3, 3]);
    let run = || {
        let conv = with_bf16(|| Conv2d::new(&kernel, None, SAME, STORAGE).unwrap());
        (bits(&linear(&w).forward(&x).unwrap()), bits(&conv.forward(&image).unwrap()))
    };
    if level() != Level::Reference {
        assert!(run() == with_level(Level::Scalar, run));
    }
}

fn epilogues() {
    let (b, l, k, n) = (2, 9, 41, 70);
    let (x, w, bias) = (brain(1, &[b, l, k]), brain(2, &[n, k]), normal(3, &[n]));
    let (residual, per_sample) = (normal(4, &[b, l, n]), normal(5, &[b, n]));
    for activation in [Some(Activation::Silu), Some(Activation::QuickGelu), None] {
        let run = |x: &Tensor, residual: &Tensor, per_sample: &Tensor, storage| {
            let epilogue = Epilogue { residual: Some(residual), per_sample: Some(per_sample), activation, scale: 0.7 };
            with_bf16(|| Linear::new(&w, Some(&bias), storage).unwrap()).forward_with(x, &epilogue).unwrap()
        };
        let want = exact(|| run(&x, &residual, &per_sample, DType::F64));
        let got = run(&single(&x), &single(&residual), &single(&per_sample), STORAGE);
        near(&got, &want, TOLERANCE, &format!("{activation:?}"));
    }
}

fn geglu() {
    for (m, k, inner) in [(64, 40, 96), (13, 36, 70), (1, 7, 3), (256, 96, 384), (5, 330, 160)] {
        let (x, w, b) = (brain(1, &[m, k]), brain(2, &[2 * inner, k]), normal(3, &[2 * inner]));
        let want = exact(|| Geglu::new(&w, Some(&b), DType::F64).unwrap().forward(&x).unwrap());
        let got = with_bf16(|| Geglu::new(&w, Some(&b), STORAGE).unwrap()).forward(&single(&x)).unwrap();
        near(&got, &want, TOLERANCE, &format!("{m}x{k}x{inner}"));
    }
}

/// The root mean square of the difference, as a part of that of what was wanted.
fn distance(got: &Tensor, want: &Tensor) -> f64 {
    let square = |x: &Tensor| x.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap();
    (square(&(got.to_dtype(DType::F64).unwrap() - want).unwrap()) / square(want)).sqrt()
}

/// How far a product of bf16 is from the product of the numbers: each side is off by 2^-9 of a power of two at most, evenly, so by 1.6e-3 of itself on average.
fn error() {
    let (x, w) = (normal(1, &[64, 640]), normal(2, &[96, 640]));
    let want = exact(|| Linear::new(&w, None, DType::F64).unwrap().forward(&x).unwrap());
    let got = linear(&w).forward(&single(&x)).unwrap();
    let relative = distance(&got, &want);
    // The reference keeps bf16 weights, but multiplies inputs as they are.
    let expected = if level() == Level::Reference { 1.2e-3..2e-3 } else { 2e-3..2.6e-3 };
    assert!(expected.contains(&relative), "{relative}");
}

/// Infinities and NaN come through, and what is beside an odd last channel does not.
fn extremes() {
    let w = brain(1, &[5, 7]);
    let run = |row: [f32; 7]| linear(&w).forward(&Tensor::new(&[row], &Device::Cpu).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0].clone();
    assert!(run([f32::NAN; 7]).iter().all(|y| y.is_nan()));
    assert!(run([1.0, f32::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| y.is_infinite()));
    assert_eq!(run([0.0; 7]), [0.0; 5]);
    assert!(run([1e38, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).iter().all(|y| !y.is_nan()));
}

/// A row's result does not depend on the rows around it.
fn rows_are_independent() {
    let (x, w) = (single(&normal(1, &[203, 331])), normal(2, &[150, 331]));
    let linear = linear(&w);
    let all = linear.forward(&x).unwrap().to_vec2::<f32>().unwrap();
    if level() != Level::Reference {
        for i in [0, 101, 202] {
            assert_eq!(linear.forward(&x.narrow(0, i, 1).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0], all[i]);
        }
    }
}

type Run<'a> = &'a dyn Fn(&Conv2d, &[Tensor]) -> Tensor;

/// Runs a convolution of bf16 numbers in f64 and in products of bf16.
fn compare(inputs: &[Tensor], weight: &Tensor, config: Conv2dConfig, tolerance: f64, what: &str, run: Run) {
    let bias = normal(9, &[weight.dims()[0]]);
    let want = exact(|| run(&Conv2d::new(weight, Some(&bias), config, DType::F64).unwrap(), inputs));
    let conv = with_bf16(|| Conv2d::new(weight, Some(&bias), config, STORAGE).unwrap());
    near(&run(&conv, &inputs.iter().map(single).collect::<Vec<_>>()), &want, tolerance, what);
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
        compare(&[x], &w, config, TOLERANCE, &format!("{:?}", (b, size, ci, co, kernel)), &|conv, x| conv.forward(&x[0]).unwrap());
    }
}

fn winograd() {
    for (b, size, ci, co) in [(1, (32, 32), 64, 64), (1, (34, 37), 71, 85), (2, (16, 16), 32, 32), (1, (12, 13), 256, 260)] {
        let (x, w) = (brain(1, &[b, size.0, size.1, ci]), brain(2, &[co, ci, 3, 3]));
        compare(&[x], &w, SAME, TOLERANCE_F2, &format!("{:?}", (b, size, ci, co)), &|conv, x| conv.forward(&x[0]).unwrap());
    }
    // Sharper than the worst value.
    let (x, w) = (brain(1, &[1, 34, 37, 71]), brain(2, &[85, 71, 3, 3]));
    let want = exact(|| Conv2d::new(&w, None, SAME, DType::F64).unwrap().forward(&x).unwrap());
    let got = with_bf16(|| Conv2d::new(&w, None, SAME, STORAGE).unwrap()).forward(&single(&x)).unwrap();
    let expected = if level() == Level::Reference { 0.0..1e-6 } else { 3e-3..4.5e-3 };
    assert!(expected.contains(&distance(&got, &want)), "{}", distance(&got, &want));
    // F6, in f32: its error of 6e-6, and more than ten times that as the worst of a million.
    let (x, w) = (brain(1, &[1, 131, 130, 64]), brain(2, &[66, 64, 3, 3]));
    compare(&[x], &w, SAME, 1e-4, "131x130", &|conv, x| conv.forward(&x[0]).unwrap());
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
        compare(&[x1, x2], &w, SAME, tolerance, &format!("{c1}+{c2}"), &|conv, x| conv.forward_concat(&x[0], &x[1], &epilogue()).unwrap());
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
        compare(&[x], &w, SAME, tolerance, &format!("{from:?} -> {to:?}"), &up);
    }
}

each_level!(
    shapes,
    inputs_are_rounded,
    levels_agree,
    epilogues,
    geglu,
    error,
    extremes,
    rows_are_independent,
    convolutions,
    winograd,
    concatenated,
    upsampled
);

#[test]
fn a_weight_takes_two_bytes() {
    with_level(Level::Scalar, || assert_eq!(linear(&normal(1, &[64, 320])).bytes(), 2 * 64 * 320));
}

#[test]
fn products_of_bf16_are_asked_for_by_name() {
    with_level(Level::Scalar, || {
        assert_eq!((multiplies_bf16(), name().as_str()), (false, "scalar"));
        with_bf16(|| assert_eq!((multiplies_bf16(), name().as_str()), (true, "scalar+bf16")));
    });
    with_level(Level::Reference, || with_bf16(|| assert_eq!((multiplies_bf16(), name().as_str()), (false, "reference"))));
}
