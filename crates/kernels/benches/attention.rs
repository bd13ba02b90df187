//! Attention over the named shapes; throughput in FLOP of the two products.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shapes;

use candle_core::DType;
use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use nd_kernels::{pool, Heads, Mask};

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (name, b, h, l, s, d) in shapes::ATTENTION {
        let (q, k, v) = (shapes::random(&[b, l, h * d]), shapes::random(&[b, s, h * d]), shapes::random(&[b, s, h * d]));
        let heads = Heads::new(h, 1.0 / (d as f32).sqrt(), DType::F32);
        let run = || nd_kernels::attention(&q, &k, &v, heads, Mask::None).unwrap();
        group.throughput(Throughput::Elements(4 * (b * h * l * s * d) as u64));
        group.bench_function(name, |bench| bench.iter(|| pool::install(run)));
    }
    group.finish();
}

criterion_group!(name = benches; config = shapes::short(); targets = attention);
criterion_main!(benches);
