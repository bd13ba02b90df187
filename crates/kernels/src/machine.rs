//! What this machine can do at most, measured: the roofs that benches compare with.

use crate::cpu::{has_bf16, level, peak, Peak};
use crate::pool;
use rayon::prelude::*;
use std::time::Instant;

/// Bytes that are streamed: far more than any cache holds.
const STREAM: usize = 1 << 28;

/// Rates of all threads of the pool together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    /// f32 multiply-adds in GFLOP/s, by the register tile of our products.
    pub f32: f64,
    /// bf16 dot products in GFLOP/s, by the register tile of our products; 0 where the CPU has none.
    pub bf16: f64,
    /// int8 multiply-adds in GOP/s, by the register tile of our products.
    pub int8: f64,
    /// Bytes read from memory in GB/s.
    pub read: f64,
    /// Bytes read plus written by copying in GB/s.
    pub copy: f64,
}

/// Measures all roofs on the whole pool, the best of `tries` runs of some milliseconds each.
pub fn peaks(tries: usize) -> Peaks {
    pool::install(|| {
        let (read, copy) = bandwidth(tries);
        let [f32, int8] = [Peak::F32, Peak::Int8].map(|of| together(|| peak(of, tries)));
        let bf16 = if has_bf16(level()) { together(|| peak(Peak::Bf16, tries)) } else { 0.0 };
        Peaks { f32, bf16, int8, read, copy }
    })
}

/// The sum of what each thread of the pool reaches while all are busy.
fn together(rate: impl Fn() -> f64 + Sync) -> f64 {
    rayon::broadcast(|_| rate()).into_iter().sum()
}

fn bandwidth(tries: usize) -> (f64, f64) {
    let n = STREAM / 8;
    let (from, mut to) = (vec![1u64; n], vec![2u64; n]);
    let part = n / pool::threads().max(1);
    let best = |mut run: Box<dyn FnMut() + '_>| {
        (0..tries)
            .map(|_| {
                let start = Instant::now();
                run();
                start.elapsed().as_secs_f64()
            })
            .fold(f64::MAX, f64::min)
    };
    let read = best(Box::new(|| {
        std::hint::black_box(from.par_chunks(part).map(|part| part.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))).sum::<u64>());
    }));
    let copy = best(Box::new(|| to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from))));
    std::hint::black_box(to);
    (STREAM as f64 / read / 1e9, 2.0 * STREAM as f64 / copy / 1e9)
}

#[cfg(test)]
mod tests {
    #[test]
    fn roofs_are_positive_where_the_cpu_has_them() {
        let peaks = super::peaks(1);
        assert!(peaks.f32 > 0.0 && peaks.read > 0.0 && peaks.copy > 0.0, "{peaks:?}");
        assert_eq!(peaks.bf16 > 0.0, super::has_bf16(super::level()));
    }
}
