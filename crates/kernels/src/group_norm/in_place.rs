//! A norm that writes over its input: half of the memory, and every line is written while it is still in a cache.

use super::cpu::{Apply, Body, STEP};
use super::statistics::{combine, Sums};
use crate::pool;
use crate::simd::{dispatch, Shared};
use crate::Activation;
use candle_core::{bail, CpuStorage, DType, InplaceOp1, Layout, Result, Tensor};

/// Whether x (B, .., C) lies as our kernels write it.
pub(super) fn fits(x: &Tensor, channels: usize) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous() && x.rank() >= 2 && x.dims().last() == Some(&channels)
}

/// x (B, .., C) that `fits` -> the same tensor, normalised.
pub(super) fn forward(body: &Body, x: Tensor, activation: Option<Activation>) -> Result<Tensor> {
    if !crate::dry::is_on() {
        x.inplace_op1(&InPlace { body, activation })?;
    }
    Ok(x)
}

struct InPlace<'a> {
    body: &'a Body,
    activation: Option<Activation>,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "group norm"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(data) = storage else { bail!("Expected an f32 tensor on the CPU") };
        let (body, dims, channels) = (self.body, layout.dims(), self.body.weight.len());
        let (batch, positions) = (dims[0], dims[1..dims.len() - 1].iter().product::<usize>());
        let x = &mut data[layout.start_offset()..][..batch * positions * channels];
        let coefficients = combine(body, &Sums::of(body.level, &[(&*x, channels)], batch, positions), None);
        let step = STEP.div_ceil(channels.max(1));
        let per_sample = positions.div_ceil(step);
        let out = Shared::new(x.as_mut_ptr());
        pool::run(batch * per_sample, |i| {
            let (sample, first) = (i / per_sample, i % per_sample * step);
            // SAFETY: tasks read and write disjoint rows of x.
            let rows = unsafe { out.get().add((sample * positions + first) * channels) };
            let (scale, shift) = coefficients[2 * sample * channels..][..2 * channels].split_at(channels);
            let task = Apply {
                x: rows,
                rows: step.min(positions - first),
                width: channels,
                scale,
                shift,
                out: rows,
                stride: channels,
                activation: self.activation,
                streamed: false,
            };
            dispatch(body.level, task)
        });
        Ok(())
    }
}
