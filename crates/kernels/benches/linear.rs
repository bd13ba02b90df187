//! Linear layers and GEGLU over the named shapes; throughput in FLOP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shapes;

use candle_core::DType;
use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use nd_kernels::{pool, Geglu, Linear};

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for (name, m, k, n) in shapes::LINEAR {
        for storage in [DType::F32, DType::F16, DType::BF16] {
            let (x, w, b) = (shapes::random(&[1, m, k]), shapes::random(&[n, k]), shapes::random(&[n]));
            let linear = Linear::new(&w, Some(&b), storage).unwrap();
            group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
            group.bench_function(format!("{name} {storage:?}"), |bench| bench.iter(|| pool::install(|| linear.forward(&x).unwrap())));
        }
    }
    group.finish();
    let mut group = c.benchmark_group("geglu");
    for (name, m, k, n) in shapes::GEGLU {
        let (x, w, b) = (shapes::random(&[1, m, k]), shapes::random(&[2 * n, k]), shapes::random(&[2 * n]));
        let geglu = Geglu::new(&w, Some(&b), DType::F32).unwrap();
        group.throughput(Throughput::Elements(4 * (m * k * n) as u64));
        group.bench_function(name, |bench| bench.iter(|| pool::install(|| geglu.forward(&x).unwrap())));
    }
    group.finish();
}

criterion_group!(name = benches; config = shapes::short(); targets = linear);
criterion_main!(benches);
