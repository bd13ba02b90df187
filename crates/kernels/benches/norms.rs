//! Memory-bound operations over the named shapes; throughput in bytes read and written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shapes;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use nd_kernels::{activation, nhwc_to_nchw, pool, Activation, GroupNorm, LayerNorm};

fn norms(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory");
    for (name, b, n, ch) in shapes::NORM {
        let (x, w, bias) = (shapes::random(&[b, n, ch]), shapes::random(&[ch]), shapes::random(&[ch]));
        let image = x.reshape((b, 1, n, ch)).unwrap();
        let (by_group, by_row) = (GroupNorm::new(&w, &bias, 32.min(ch), 1e-5).unwrap(), LayerNorm::new(&w, &bias, 1e-5).unwrap());
        group.throughput(Throughput::Bytes(8 * (b * n * ch) as u64));
        let mut bench = |op: &str, run: &(dyn Fn() -> candle_core::Tensor + Sync)| {
            group.bench_function(format!("{op}, {name}"), |bench| bench.iter(|| pool::install(run)));
        };
        bench("group norm + silu", &|| by_group.forward(&x, Some(Activation::Silu)).unwrap());
        bench("layer norm", &|| by_row.forward(&x).unwrap());
        bench("gelu", &|| activation(&x, Activation::Gelu).unwrap());
        bench("to channels first", &|| nhwc_to_nchw(&image).unwrap());
    }
    group.finish();
}

criterion_group!(name = benches; config = shapes::short(); targets = norms);
criterion_main!(benches);
