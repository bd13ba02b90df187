use super::{Call, Run, Unit, MR};
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
    /// Brain floats, two products per lane; in software where the CPU has no instruction for them.
    Bf16,
    /// Bytes, four products per lane.
    Int8,
}

impl Peak {
    fn unit(self) -> Unit {
        match self {
            Self::F32 => Unit::Float,
            Self::Bf16 => Unit::Pair,
            Self::Int8 => Unit::Quad,
        }
    }
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
        let call = Call { fresh: false, ..Call::new(&rows, &run, b.as_ptr(), c.as_mut_ptr()) };
        let (kernels, each) = (self.of.unit().kernels::<S>(), self.of.unit().numbers());
        // Opaque, so that equal calls are not merged into one.
        (0..self.calls).for_each(|_| std::hint::black_box(kernels[S::PANEL - 1][MR - 1])(std::hint::black_box(&call)));
        (2 * MR * width * K * self.calls * each) as f64
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
