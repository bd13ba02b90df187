//! 3x3 convolutions over the named shapes; throughput in FLOP of the direct method, also where Winograd or phases do fewer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shapes;

use candle_core::DType;
use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use nd_kernels::{pool, Conv2d, Conv2dConfig, Epilogue, Padding};

fn conv2d(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d");
    for (name, b, size, ci, co, stride, up) in shapes::CONV {
        let (x, w, bias) = (shapes::random(&[b, size, size, ci]), shapes::random(&[co, ci, 3, 3]), shapes::random(&[co]));
        let conv = Conv2d::new(&w, Some(&bias), Conv2dConfig { stride, padding: Padding::Same(1) }, DType::F32).unwrap();
        let out = if up { 2 * size } else { size.div_ceil(stride) };
        let run = || if up { conv.forward_upsampled(&x, (out, out), &Epilogue::default()) } else { conv.forward(&x) }.unwrap();
        group.throughput(Throughput::Elements(18 * (b * out * out * ci * co) as u64));
        group.bench_function(name, |bench| bench.iter(|| pool::install(run)));
    }
    group.finish();
}

criterion_group!(name = benches; config = shapes::short(); targets = conv2d);
criterion_main!(benches);
