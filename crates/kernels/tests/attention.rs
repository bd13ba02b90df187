//! Attention against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::Tensor;
use nd_kernels::{attention, Mask};
use oracle::{exact, near, normal, single};

/// Exponentials are good to 2e-7 and sums are f32; relative to outputs that shrink as averages do.
const TOLERANCE: f64 = 2e-5;

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

fn inputs(b: usize, h: usize, l: usize, s: usize, d: usize) -> [Tensor; 3] {
    [normal(1, &[b, l, h * d]), normal(2, &[b, s, h * d]), normal(3, &[b, s, h * d])]
}

fn scale(d: usize) -> f32 {
    1.0 / (d as f32).sqrt()
}

fn shapes() {
    for (b, h, l, s, d) in SHAPES {
        let [q, k, v] = inputs(b, h, l, s, d);
        let want = exact(|| attention(&q, &k, &v, h, scale(d), Mask::None).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), h, scale(d), Mask::None).unwrap();
        near(&got, &want, TOLERANCE, &format!("{:?}", (b, h, l, s, d)));
    }
}

fn causal() {
    for (l, s) in [(77, 77), (1, 1), (200, 200), (40, 130), (130, 40)] {
        let [q, k, v] = inputs(2, 2, l, s, 24);
        let want = exact(|| attention(&q, &k, &v, 2, scale(24), Mask::Causal).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), 2, scale(24), Mask::Causal).unwrap();
        near(&got, &want, TOLERANCE, &format!("causal {l}x{s}"));
    }
}

fn bias() {
    let (b, h, l, s, d) = (2, 3, 70, 90, 16);
    let [q, k, v] = inputs(b, h, l, s, d);
    for shape in [[b, h, l, s], [1, 1, l, s], [b, 1, 1, s], [1, h, 1, 1]] {
        let bias = normal(4, &shape);
        let want = exact(|| attention(&q, &k, &v, h, scale(d), Mask::Bias(&bias)).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), h, scale(d), Mask::Bias(&single(&bias))).unwrap();
        near(&got, &want, TOLERANCE, &format!("bias {shape:?}"));
    }
    // Padding masks: -inf or the -10000 of diffusers on the last keys.
    for hidden in [f64::NEG_INFINITY, -10_000.0] {
        let row: Vec<f64> = (0..s).map(|i| if i < 30 { 0.0 } else { hidden }).collect();
        let bias = Tensor::new(row, &candle_core::Device::Cpu).unwrap().reshape((1, 1, 1, s)).unwrap();
        let want = exact(|| attention(&q, &k, &v, h, scale(d), Mask::Bias(&bias)).unwrap());
        let got = attention(&single(&q), &single(&k), &single(&v), h, scale(d), Mask::Bias(&single(&bias))).unwrap();
        near(&got, &want, TOLERANCE, &format!("padding {hidden}"));
    }
}

fn large_scores() {
    // Scores in the hundreds, growing along the keys, so that the running maximum moves in every block.
    let [q, k, v] = inputs(1, 1, 70, 300, 40);
    let growth: Vec<f64> = (0..300).map(|i| i as f64 / 30.0).collect();
    let k = k.broadcast_mul(&Tensor::new(growth, &candle_core::Device::Cpu).unwrap().reshape((1, 300, 1)).unwrap()).unwrap();
    let k = single(&k).to_dtype(candle_core::DType::F64).unwrap();
    let want = exact(|| attention(&q, &k, &v, 1, 1.0, Mask::None).unwrap());
    let got = attention(&single(&q), &single(&k), &single(&v), 1, 1.0, Mask::None).unwrap();
    // A score of 300 is itself only good to 3e-5.
    near(&got, &want, 3e-4, "large scores");
}

/// Scores in the billions, beyond what the quick exponential takes: all weight goes to one key.
fn far_scores() {
    let [q, k, v] = inputs(1, 2, 70, 100, 24);
    let (q, k) = ((q * 1e4).unwrap(), (k * 1e4).unwrap());
    let (q, k) = (single(&q), single(&k));
    let wide = |x: &Tensor| x.to_dtype(candle_core::DType::F64).unwrap();
    let want = exact(|| attention(&wide(&q), &wide(&k), &v, 2, 1.0, Mask::None).unwrap());
    near(&attention(&q, &k, &single(&v), 2, 1.0, Mask::None).unwrap(), &want, TOLERANCE, "far scores");
}

each_level!(shapes, causal, bias, large_scores, far_scores);
