use super::{kernels, Call, Run, MR};
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::simd::{dispatch, Simd, Task};
use std::time::Instant;

/// Channels: the operands fit into L1.
const K: usize = 64;

struct Spin {
    calls: usize,
}

impl Task for Spin {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        let width = S::PANEL * S::LANES;
        let (a, b) = (Buffer::<f32>::zeroed(MR * K), Buffer::<f32>::zeroed(K * width));
        let mut c = Buffer::<f32>::zeroed(MR * width);
        let mut rows = [a.as_ptr(); 2 * MR];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = row.add(i % MR * K);
        }
        let run = Run { set: 0, k0: 0, len: K };
        let call = Call { rows: rows.as_ptr(), set_stride: 0, runs: &run, run_count: 1, b: b.as_ptr(), c: c.as_mut_ptr(), first: true };
        let kernel = kernels::<S>()[S::PANEL - 1][MR - 1];
        for _ in 0..self.calls {
            // Opaque, so that equal calls are not merged into one.
            std::hint::black_box(kernel)(std::hint::black_box(&call));
        }
        (2 * MR * width * K * self.calls) as f64
    }
}

/// GFLOP/s of the bare register tile on one thread, the best of `tries` runs of about a millisecond.
pub(crate) fn peak(level: Level, tries: usize) -> f64 {
    let once = || {
        let start = Instant::now();
        let flops = dispatch(level, Spin { calls: 2000 });
        flops / start.elapsed().as_secs_f64() / 1e9
    };
    (0..tries).map(|_| once()).fold(0.0, f64::max)
}
