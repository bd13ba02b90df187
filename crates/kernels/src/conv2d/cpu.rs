//! Convolution as implicit GEMM: one row set per tap, whose pointers lead to the pixels in place. Padding points at a row of zeros; stride, resizing and
//! concatenation are only other pointers.

use super::pixels::{Grid, Pixels};
use super::{upsample, Conv2dConfig};
use crate::buffer::{dense, output, to_vec, Buffer, View};
use crate::cpu::Level;
use crate::gemm::{gemm_by, Finish, Packed, Source};
use crate::Epilogue;
use candle_core::{DType, Result, Tensor};
use std::sync::OnceLock;

/// A packed kernel with its bias.
pub(super) struct Body {
    pub packed: Packed,
    pub bias: Option<Vec<f32>>,
    /// What padding reads.
    pub zeros: Buffer<f32>,
    /// (out, in, kernel height, kernel width).
    pub shape: (usize, usize, usize, usize),
    pub config: Conv2dConfig,
    phases: OnceLock<upsample::Phases>,
}

/// What a call works on.
pub(super) struct Call<'a> {
    pub sources: &'a [(&'a [f32], usize)],
    pub grid: Grid,
    pub per_sample: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub activation: Option<crate::Activation>,
    pub scale: f32,
}

impl Body {
    /// From (out, in, kh, kw).
    pub fn new(level: Level, weight: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig, storage: DType) -> Result<Self> {
        let (n, channels, kh, kw) = weight.dims4()?;
        let weight = dense(weight)?;
        let view = View::new(&weight);
        let (values, taps) = (view.slice()?, kh * kw);
        let widths = vec![channels; taps];
        let source = Source { widths: &widths, n, gated: false, value: |tap, k, column| values[(column * channels + k) * taps + tap] };
        Ok(Self {
            packed: Packed::new(level, storage, &source)?,
            bias: bias.map(to_vec).transpose()?,
            zeros: Buffer::zeroed(channels),
            shape: (n, channels, kh, kw),
            config,
            phases: OnceLock::new(),
        })
    }

    /// Inputs (B, H, W, C_i) -> `shape` (B, H', W', out), in x's dtype.
    pub fn forward(&self, inputs: &[&Tensor], resize: Option<(usize, usize)>, shape: [usize; 4], epilogue: &Epilogue) -> Result<Tensor> {
        let dtype = inputs[0].dtype();
        let inputs = inputs.iter().map(|x| dense(x)).collect::<Result<Vec<_>>>()?;
        let views: Vec<View> = inputs.iter().map(View::new).collect();
        let mut sources = Vec::with_capacity(2);
        for (view, x) in views.iter().zip(&inputs) {
            sources.push((view.slice()?, x.dims()[3]));
        }
        let per_sample = epilogue.per_sample.map(dense).transpose()?;
        let residual = epilogue.residual.map(dense).transpose()?;
        let (per_sample, residual) = (per_sample.as_ref().map(View::new), residual.as_ref().map(View::new));
        let (_, height, width, _) = inputs[0].dims4()?;
        let call = Call {
            sources: &sources,
            grid: Grid { input: (height, width), resize, output: (shape[1], shape[2]), batch: shape[0] },
            per_sample: per_sample.as_ref().map(View::slice).transpose()?,
            residual: residual.as_ref().map(View::slice).transpose()?,
            activation: epilogue.activation,
            scale: epilogue.scale,
        };
        // SAFETY: every body writes every pixel and channel.
        unsafe {
            output(shape.as_slice(), |out| {
                let finish = self.finish(&call, out);
                if upsample::fits(self, &call) {
                    self.phases.get_or_init(|| upsample::Phases::new(self)).run(self, &call, &finish)
                } else {
                    self.direct(&call, &finish)
                }
            })
        }?
        .to_dtype(dtype)
    }

    fn direct(&self, call: &Call, finish: &Finish) {
        let (_, _, kh, kw) = self.shape;
        let pixels = Pixels::new(call.sources, &call.grid, (kh, kw), self.config, &self.zeros);
        let (height, width) = call.grid.output;
        let rows = call.grid.batch * height * width;
        match call.sources {
            [_] => gemm_by(&pixels, rows, &self.packed, &self.packed.schedule, finish),
            [(_, first), ..] => gemm_by(&pixels, rows, &self.packed, &self.packed.schedule.split(*first), finish),
            [] => {}
        }
    }

    fn finish<'a>(&'a self, call: &Call<'a>, out: crate::simd::Shared<f32>) -> Finish<'a> {
        Finish {
            out,
            n: self.packed.n,
            bias: self.bias.as_deref(),
            per_sample: call.per_sample.map(|values| (values, call.grid.output.0 * call.grid.output.1)),
            activation: call.activation,
            scale: call.scale,
            residual: call.residual,
            phase: None,
        }
    }

    /// Memory held by the weights, derived forms included.
    pub fn bytes(&self) -> usize {
        self.packed.bytes() + self.phases.get().map_or(0, upsample::Phases::bytes)
    }
}
