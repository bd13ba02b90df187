//! One table: for every named shape our best time, GFLOP/s and share of the machine's peak, and how many times longer candle's own op takes.
//!
//! `cargo bench -p nd-kernels --bench rates -- [linear bf16 bf16-conv bf16-attention int8 int8-conv fast-conv geglu conv attention norm] [--no-candle] [--only=PART-OF-NAME] [--seconds=PER-ROW]`; NODE_DIFFUSION_CPU and ND_THREADS choose level and threads.
//!
//! Times are CPU time divided by threads, so that other programs' turns do not count (their use of caches and memory does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shapes;

use candle_core::{DType, Tensor};
use nd_kernels::cpu::Peak;
use nd_kernels::*;
use shapes::random;
use std::time::Instant;

const SAME: Conv2dConfig = Conv2dConfig { stride: 1, padding: Padding::Same(1) };

/// Seconds of this process on a CPU, divided by the threads: what wall time would be if nothing else ran.
fn clock() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time into `t`.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    (t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64) / pool::threads() as f64
}

/// Seconds: the best of runs for about `budget` seconds, at least two.
fn best(budget: f64, mut f: impl FnMut() -> Tensor) -> f64 {
    let (start, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while runs < 2 || start.elapsed().as_secs_f64() < budget {
        let t = clock();
        let _ = f();
        best = best.min(clock() - t);
        runs += 1;
    }
    best
}

struct Table {
    only: String,
    candle: bool,
    /// Seconds per row.
    budget: f64,
}

impl Table {
    fn row(&self, name: &str, gflop: f64, ours: impl FnMut() -> Tensor, theirs: impl FnMut() -> Tensor) {
        self.row_of(Peak::F32, name, gflop, ours, theirs)
    }

    fn row_of(&self, of: Peak, name: &str, gflop: f64, mut ours: impl FnMut() -> Tensor, theirs: impl FnMut() -> Tensor) {
        if !name.contains(&self.only) {
            return;
        }
        // In turns, the best of each: neighbours slow the clock and share the core.
        let (mut peak, mut t) = (0f64, f64::MAX);
        for _ in 0..5 {
            peak = peak.max(cpu::peak(of, 10) * pool::threads() as f64);
            t = t.min(best(self.budget / 5.0, &mut ours));
        }
        let ratio = if self.candle { format!("{:.2}", best(0.05, theirs) / t) } else { "-".into() };
        let rate = gflop / t;
        println!("| {name} | {:.3} | {rate:.0} | {:.0} % | {ratio} |", t * 1e3, 100.0 * rate / peak);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| args.iter().all(|a| a.starts_with('-')) || args.iter().any(|a| a == name);
    if let Some(n) = std::env::var("ND_THREADS").ok().and_then(|n| n.parse().ok()) {
        pool::set_threads(n);
    }
    std::env::set_var("RAYON_NUM_THREADS", pool::threads().to_string());
    let table = Table {
        only: args.iter().find_map(|a| a.strip_prefix("--only=")).unwrap_or_default().to_owned(),
        candle: !args.iter().any(|a| a == "--no-candle"),
        budget: args.iter().find_map(|a| a.strip_prefix("--seconds=")?.parse().ok()).unwrap_or(0.15),
    };
    println!("level {}, threads {}, peak {:.0} GFLOP/s per thread", cpu::name(), pool::threads(), cpu::peak(Peak::F32, 50));
    println!("| shape | ms | GFLOP/s | of peak | candle / ours |\n|---|---|---|---|---|");
    pool::install(|| {
        if wanted("linear") {
            linear(&table);
        }
        if wanted("bf16") {
            small(&table, Peak::Bf16, DType::BF16.into());
        }
        if wanted("bf16-conv") {
            small_conv(&table, Peak::Bf16, DType::BF16.into());
        }
        if wanted("bf16-attention") {
            attend_small(&table);
        }
        if wanted("int8") {
            small(&table, Peak::Int8, Storage::Int8);
        }
        if wanted("int8-conv") {
            small_conv(&table, Peak::Int8, Storage::Int8);
        }
        if wanted("fast-conv") {
            small_conv(&table, Peak::Bf16, Storage::Fast);
        }
        if wanted("geglu") {
            geglu(&table);
        }
        if wanted("conv") {
            conv(&table);
        }
        if wanted("attention") {
            attend(&table);
        }
        if wanted("norm") {
            norm(&table);
        }
    });
}

fn linear(table: &Table) {
    for (name, m, k, n) in shapes::LINEAR {
        let (x, w, b) = (random(&[1, m, k]), random(&[n, k]), random(&[n]));
        let ours = Linear::new(&w, Some(&b), DType::F32).unwrap();
        let theirs = cpu::with_level(cpu::Level::Reference, || Linear::new(&w, Some(&b), DType::F32).unwrap());
        table.row(name, 2e-9 * (m * k * n) as f64, || ours.forward(&x).unwrap(), || theirs.forward(&x).unwrap());
    }
}

/// Products of bf16 or of bytes, against their own peak; in the last column how many times longer our own f32 takes.
fn small(table: &Table, of: Peak, storage: Storage) {
    println!("| {of:?}, peak {:.0} GOP/s per thread | ms | GOP/s | of peak | f32 / {of:?} |", cpu::peak(of, 50));
    for (name, m, k, n) in shapes::LINEAR {
        let (x, w, b) = (random(&[1, m, k]), random(&[n, k]), random(&[n]));
        let layer = |storage| cpu::with_bf16(|| Linear::new(&w, Some(&b), storage).unwrap());
        let (ours, float) = (layer(storage), layer(DType::F32.into()));
        table.row_of(of, name, 2e-9 * (m * k * n) as f64, || ours.forward(&x).unwrap(), || float.forward(&x).unwrap());
    }
    for (name, m, k, n) in shapes::GEGLU {
        let (x, w, b) = (random(&[1, m, k]), random(&[2 * n, k]), random(&[2 * n]));
        let layer = |storage| cpu::with_bf16(|| Geglu::new(&w, Some(&b), storage).unwrap());
        let (ours, float) = (layer(storage), layer(DType::F32.into()));
        table.row_of(of, name, 4e-9 * (m * k * n) as f64, || ours.forward(&x).unwrap(), || float.forward(&x).unwrap());
    }
}

/// Convolutions, the same way. GOP/s are those of the direct method, which bytes always take; `Fast` takes Winograd's F4 in bf16 for images from 28 pixels on.
fn small_conv(table: &Table, of: Peak, storage: Storage) {
    println!("| {of:?}, peak {:.0} GOP/s per thread | ms | GOP/s | of peak | f32 / {of:?} |", cpu::peak(of, 50));
    for (name, b, size, ci, co, stride, up) in shapes::CONV.into_iter().filter(|shape| shape.3.min(shape.4) >= 32) {
        let (x, w, bias) = (random(&[b, size, size, ci]), random(&[co, ci, 3, 3]), random(&[co]));
        let layer = |storage| cpu::with_bf16(|| Conv2d::new(&w, Some(&bias), Conv2dConfig { stride, ..SAME }, storage).unwrap());
        let (ours, float) = (layer(storage), layer(DType::F32.into()));
        let out = if up { 2 * size } else { size.div_ceil(stride) };
        let run = |conv: &Conv2d| if up { conv.forward_upsampled(&x, (out, out), &Epilogue::default()) } else { conv.forward(&x) }.unwrap();
        table.row_of(of, name, 18e-9 * (b * out * out * ci * co) as f64, || run(&ours), || run(&float));
    }
}

fn geglu(table: &Table) {
    for (name, m, k, n) in shapes::GEGLU {
        let (x, w, b) = (random(&[1, m, k]), random(&[2 * n, k]), random(&[2 * n]));
        let ours = Geglu::new(&w, Some(&b), DType::F32).unwrap();
        let theirs = cpu::with_level(cpu::Level::Reference, || Geglu::new(&w, Some(&b), DType::F32).unwrap());
        table.row(name, 4e-9 * (m * k * n) as f64, || ours.forward(&x).unwrap(), || theirs.forward(&x).unwrap());
    }
}

fn conv(table: &Table) {
    for (name, b, size, ci, co, stride, up) in shapes::CONV {
        let (x, w, bias) = (random(&[b, size, size, ci]), random(&[co, ci, 3, 3]), random(&[co]));
        let config = Conv2dConfig { stride, ..SAME };
        let ours = Conv2d::new(&w, Some(&bias), config, DType::F32).unwrap();
        let theirs = cpu::with_level(cpu::Level::Reference, || Conv2d::new(&w, Some(&bias), config, DType::F32).unwrap());
        let out = if up { 2 * size } else { size.div_ceil(stride) };
        let run = |conv: &Conv2d| if up { conv.forward_upsampled(&x, (out, out), &Epilogue::default()) } else { conv.forward(&x) }.unwrap();
        table.row(name, 18e-9 * (b * out * out * ci * co) as f64, || run(&ours), || run(&theirs));
    }
}

fn attend(table: &Table) {
    for (name, b, h, l, s, d) in shapes::ATTENTION {
        let (q, k, v) = (random(&[b, l, h * d]), random(&[b, s, h * d]), random(&[b, s, h * d]));
        let run = || attention(&q, &k, &v, Heads::new(h, 1.0 / (d as f32).sqrt(), DType::F32), Mask::None).unwrap();
        table.row(name, 4e-9 * (b * h * l * s * d) as f64, run, || cpu::with_level(cpu::Level::Reference, run));
    }
}

/// With products of bf16, the same way as layers with them.
fn attend_small(table: &Table) {
    println!("| Bf16, peak {:.0} GOP/s per thread | ms | GOP/s | of peak | f32 / Bf16 |", cpu::peak(Peak::Bf16, 50));
    for (name, b, h, l, s, d) in shapes::ATTENTION {
        let (q, k, v) = (random(&[b, l, h * d]), random(&[b, s, h * d]), random(&[b, s, h * d]));
        let heads = |storage: DType| cpu::with_bf16(|| Heads::new(h, 1.0 / (d as f32).sqrt(), storage));
        let run = |heads| attention(&q, &k, &v, heads, Mask::None).unwrap();
        let (ours, float) = (heads(DType::BF16), heads(DType::F32));
        table.row_of(Peak::Bf16, name, 4e-9 * (b * h * l * s * d) as f64, || run(ours), || run(float));
    }
}

/// Here GFLOP/s stand for billions of elements per second, and their share of the peak means nothing.
fn norm(table: &Table) {
    for (name, b, n, c) in shapes::NORM {
        let (x, w, bias) = (random(&[b, n, c]), random(&[c]), random(&[c]));
        let giga = 1e-9 * (b * n * c) as f64;
        let norm = || GroupNorm::new(&w, &bias, 32.min(c), 1e-5).unwrap();
        let (ours, theirs) = (norm(), cpu::with_level(cpu::Level::Reference, norm));
        let silu = Some(Activation::Silu);
        table.row(&format!("group norm + silu, {name}"), giga, || ours.forward(&x, silu).unwrap(), || theirs.forward(&x, silu).unwrap());
        let norm = || LayerNorm::new(&w, &bias, 1e-5).unwrap();
        let (ours, theirs) = (norm(), cpu::with_level(cpu::Level::Reference, norm));
        table.row(&format!("layer norm, {name}"), giga, || ours.forward(&x).unwrap(), || theirs.forward(&x).unwrap());
        let image = x.reshape((b, 1, n, c)).unwrap();
        let back = || cpu::with_level(cpu::Level::Reference, || nhwc_to_nchw(&image).unwrap());
        table.row(&format!("to channels first, {name}"), giga, || nhwc_to_nchw(&image).unwrap(), back);
    }
}
