//! Attention against the reference in f64, with products of f32 and of bf16.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{level, with_bf16, with_level, Level};
use nd_kernels::{attention, Heads, Mask};
use oracle::{bits, distance, exact, near, normal, single, stored};
use std::f64::consts::LN_2;

/// What attention multiplies.
trait Kind {
    const STORAGE: DType;
    /// As of `near`.
    const TOLERANCE: f64;

    /// What scores are multiplied by.
    fn scale(width: usize) -> f64;
}

struct F32;

impl Kind for F32 {
    const STORAGE: DType = DType::F32;
    /// Exponentials are good to 2e-7 and sums are f32; relative to outputs that shrink as averages do.
    const TOLERANCE: f64 = 2e-5;

    fn scale(width: usize) -> f64 {
        1.0 / (width as f64).sqrt()
    }
}

struct Bf16;

impl Kind for Bf16 {
    const STORAGE: DType = DType::BF16;
    /// Inputs are bf16 numbers, and queries stay such: only weights are rounded, by 2^-8 at most. Values are 0.8 from their mean on average, so that it moves by 3e-3
    /// at most; results of few keys have a root mean square of 0.19.
    const TOLERANCE: f64 = 1.7e-2;

    /// A power of two to base 2.
    fn scale(width: usize) -> f64 {
        LN_2 / (width as f64).sqrt().log2().round().exp2()
    }
}

/// (batch, heads, queries, keys, head dimension): SD1.5's self- and cross-attention cut down, CLIP's, the VAE's, the built-in model's, and odd ones.
const SHAPES: [(usize, usize, usize, usize, usize); 18] = [
    (2, 8, 256, 256, 40),
    (1, 8, 70, 300, 64),
    (2, 8, 64, 64, 160),
    (2, 2, 200, 77, 80),
    (1, 2, 64, 64, 160),
    (2, 12, 77, 77, 64),
    (1, 1, 100, 100, 512),
    (2, 8, 256, 77, 4),
    (1, 8, 64, 64, 8),
    (1, 4, 16, 16, 24),
    (1, 1, 1, 1, 40),
    (1, 3, 33, 21, 5),
    (2, 1, 65, 200, 33),
    (1, 2, 129, 61, 64),
    (1, 1, 7, 3, 1),
    (1, 2, 17, 119, 97),
    (2, 3, 300, 77, 40),
    (1, 2, 333, 131, 101),
];

/// Heads that multiply what their storage says, where products of bf16 are in force.
fn heads<K: Kind>(count: usize, scale: f64) -> Heads {
    with_bf16(|| Heads::new(count, scale as f32, K::STORAGE))
}

/// Normal numbers times `size` that the storage holds.
fn numbers<K: Kind>(seed: u64, shape: &[usize], size: f64) -> Tensor {
    stored(&single(&(normal(seed, shape) * size).unwrap()), K::STORAGE)
}

fn inputs<K: Kind>(b: usize, h: usize, l: usize, s: usize, d: usize) -> [Tensor; 3] {
    [(1, l), (2, s), (3, s)].map(|(seed, rows)| numbers::<K>(seed, &[b, rows, h * d], 1.0))
}

/// Compares attention to the reference's.
fn compare<K: Kind>([q, k, v]: &[Tensor; 3], (count, scale): (usize, f64), bias: Option<&Tensor>, tolerance: f64, what: &str) {
    let heads = heads::<K>(count, scale);
    let want = exact(|| attention(q, k, v, heads, bias.map_or(Mask::None, Mask::Bias)).unwrap());
    let bias = bias.map(single);
    let got = attention(&single(q), &single(k), &single(v), heads, bias.as_ref().map_or(Mask::None, Mask::Bias)).unwrap();
    near(&got, &want, tolerance, what);
}

fn shapes<K: Kind>() {
    for (b, h, l, s, d) in SHAPES {
        compare::<K>(&inputs::<K>(b, h, l, s, d), (h, K::scale(d)), None, K::TOLERANCE, &format!("{:?}", (b, h, l, s, d)));
    }
}

fn causal<K: Kind>() {
    for (l, s, d) in [(77, 77, 24), (1, 1, 24), (200, 200, 24), (40, 130, 24), (130, 40, 24), (61, 61, 33)] {
        let [q, k, v] = inputs::<K>(2, 2, l, s, d);
        let want = exact(|| attention(&q, &k, &v, heads::<K>(2, K::scale(d)), Mask::Causal).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), heads::<K>(2, K::scale(d)), Mask::Causal).unwrap();
        near(&got, &want, K::TOLERANCE, &format!("causal {l}x{s}x{d}"));
    }
}

fn bias<K: Kind>() {
    let (b, h, l, s, d) = (2, 3, 70, 91, 16);
    let all = inputs::<K>(b, h, l, s, d);
    for shape in [[b, h, l, s], [1, 1, l, s], [b, 1, 1, s], [1, h, 1, 1]] {
        compare::<K>(&all, (h, K::scale(d)), Some(&normal(4, &shape)), K::TOLERANCE, &format!("bias {shape:?}"));
    }
    // Padding masks: -inf or the -10000 of diffusers on the last keys.
    for hidden in [f64::NEG_INFINITY, -10_000.0] {
        let row: Vec<f64> = (0..s).map(|i| if i < 30 { 0.0 } else { hidden }).collect();
        let bias = Tensor::new(row, &Device::Cpu).unwrap().reshape((1, 1, 1, s)).unwrap();
        compare::<K>(&all, (h, K::scale(d)), Some(&bias), K::TOLERANCE, &format!("padding {hidden}"));
    }
}

/// A query that may see nothing gets the mean of all values, also of an odd number.
fn nothing_seen<K: Kind>() {
    let (l, s, d) = (5, 7, 3);
    let [q, k, v] = inputs::<K>(1, 1, l, s, d).map(|x| single(&x));
    let hidden = Tensor::full(f32::NEG_INFINITY, (1, 1, l, s), &Device::Cpu).unwrap();
    if level() != Level::Reference {
        let mean = v.to_dtype(DType::F64).unwrap().mean_keepdim(1).unwrap().broadcast_as((1, l, d)).unwrap();
        near(&attention(&q, &k, &v, heads::<K>(1, 1.0), Mask::Bias(&hidden)).unwrap(), &mean, 1e-6, "nothing seen");
    }
}

fn large_scores<K: Kind>() {
    // Scores in the hundreds, growing along the keys, so that the running maximum moves in every block.
    let [q, k, v] = inputs::<K>(1, 1, 70, 300, 40);
    let growth: Vec<f64> = (0..300).map(|i| f64::from(i) / 30.0).collect();
    let k = k.broadcast_mul(&Tensor::new(growth, &Device::Cpu).unwrap().reshape((1, 300, 1)).unwrap()).unwrap();
    let k = stored(&single(&k), K::STORAGE);
    // A score of 300 is itself only good to 3e-5.
    compare::<K>(&[q, k, v], (1, K::scale(1)), None, K::TOLERANCE.max(3e-4), "large scores");
}

/// Scores in the billions, beyond what the quick exponential takes: all weight goes to one key.
fn far_scores<K: Kind>() {
    let [q, k] = [(1, 70), (2, 100)].map(|(seed, rows)| numbers::<K>(seed, &[1, rows, 48], 1e4));
    compare::<K>(&[q, k, numbers::<K>(3, &[1, 100, 48], 1.0)], (2, K::scale(1)), None, K::TOLERANCE, "far scores");
}

/// Keys and values of f32 give the bits of such that were rounded before; the reference does not round, nor does f32.
fn keys_are_rounded() {
    let [q, k, v] = inputs::<F32>(1, 2, 70, 101, 33).map(|x| single(&x));
    let [rounded_k, rounded_v] = [&k, &v].map(|x| single(&stored(x, DType::BF16)));
    let run = |heads, k, v| bits(&attention(&q, k, v, heads, Mask::None).unwrap());
    let same = |heads| run(heads, &k, &v) == run(heads, &rounded_k, &rounded_v);
    assert_eq!(same(heads::<Bf16>(2, 0.2)), level() != Level::Reference);
    assert!(!same(heads::<F32>(2, 0.2)));
}

/// How far attention is with everything rounded. Scores of unit variance are off by 1.6e-3 for each of queries and keys, weights and values by as much: 3.2e-3 together.
fn error() {
    for (b, h, l, s, d) in [(1, 2, 512, 2048, 40), (1, 2, 200, 77, 80), (1, 1, 256, 256, 160)] {
        let [q, k, v] = inputs::<F32>(b, h, l, s, d);
        let want = exact(|| attention(&q, &k, &v, heads::<F32>(h, F32::scale(d)), Mask::None).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), heads::<Bf16>(h, F32::scale(d)), Mask::None).unwrap();
        let expected = if level() == Level::Reference { 0.0..1e-6 } else { 2.5e-3..4e-3 };
        assert!(expected.contains(&distance(&got, &want)), "{l}x{s}x{d}: {}", distance(&got, &want));
    }
}

/// The same bits at levels that round their exponentials alike.
fn levels_agree() {
    let [q, k, v] = inputs::<F32>(1, 2, 70, 131, 33).map(|x| single(&x));
    let run = || bits(&attention(&q, &k, &v, heads::<Bf16>(2, 0.2), Mask::Causal).unwrap());
    if level() == Level::Avx512 {
        assert!(run() == with_level(Level::Avx2, run));
    }
}

/// Tests that both kinds pass.
macro_rules! kinds {
    ($($module:ident: $kind:ident),*) => {
        $(mod $module {
            fn shapes() { super::shapes::<super::$kind>() }
            fn causal() { super::causal::<super::$kind>() }
            fn bias() { super::bias::<super::$kind>() }
            fn nothing_seen() { super::nothing_seen::<super::$kind>() }
            fn large_scores() { super::large_scores::<super::$kind>() }
            fn far_scores() { super::far_scores::<super::$kind>() }
            crate::each_level!(shapes, causal, bias, nothing_seen, large_scores, far_scores);
        })*
    };
}

kinds!(f32: F32, bf16: Bf16);
each_level!(keys_are_rounded, error, levels_agree);
