use super::{bytes, kernels, Call, Run, MR};
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::simd::{dispatch, Simd, Task};
use std::time::Instant;

/// Channels: the operands fit into L1.
const K: usize = 64;

/// Which register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    F32,
    /// Bytes, four products per lane.
    Int8,
}

struct Spin {
    calls: usize,
    of: Peak,
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
        let flops = (2 * MR * width * K * self.calls) as f64;
        // Opaque, so that equal calls are not merged into one.
        match self.of {
            Peak::F32 => {
                let kernel = kernels::<S>()[S::PANEL - 1][MR - 1];
                (0..self.calls).for_each(|_| std::hint::black_box(kernel)(std::hint::black_box(&call)));
                flops
            }
            Peak::Int8 => {
                let kernel = bytes::kernels::<S>()[S::PANEL - 1][MR - 1];
                let call = bytes::ByteCall { call, start: b.as_ptr(), scales: None };
                (0..self.calls).for_each(|_| std::hint::black_box(kernel)(std::hint::black_box(&call)));
                flops * bytes::QUAD as f64
            }
        }
    }
}

/// GFLOP/s of the bare register tile on one thread, the best of `tries` runs of about a millisecond.
pub(crate) fn peak(level: Level, of: Peak, tries: usize) -> f64 {
    let level = if of == Peak::Int8 { crate::cpu::byte_level(level) } else { level };
    let once = || {
        let start = Instant::now();
        let flops = dispatch(level, Spin { calls: 2000, of });
        flops / start.elapsed().as_secs_f64() / 1e9
    };
    (0..tries).map(|_| once()).fold(0.0, f64::max)
}
