//! One pass for the statistics, one to apply them as a single multiply-add per element.

use super::statistics::{combine, Sums};
use crate::buffer::{dense, output, to_vec, View};
use crate::cpu::Level;
use crate::pool;
use crate::simd::math::activate;
use crate::simd::{dispatch, streams, Shared, Simd, Task};
use crate::Activation;
use candle_core::{Result, Tensor};

/// Elements per task; below, one thread is faster.
pub(super) const STEP: usize = 1 << 15;

/// Weight and bias in f32.
pub(super) struct Body {
    pub level: Level,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub groups: usize,
    pub eps: f64,
}

/// One input: its numbers and channels.
pub(super) type Source<'a> = (&'a [f32], usize);

impl Body {
    pub fn new(level: Level, weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self { level, weight: to_vec(weight)?, bias: to_vec(bias)?, groups, eps })
    }

    /// Inputs (B, .., C_i) -> (B, .., C), in x's dtype.
    pub fn forward(&self, inputs: &[&Tensor], scale_shift: super::ScaleShift, activation: Option<Activation>) -> Result<Tensor> {
        let (dtype, channels) = (inputs[0].dtype(), self.weight.len());
        let mut shape = inputs[0].dims().to_vec();
        let (batch, rank) = (shape[0], shape.len());
        let positions: usize = shape[1..rank - 1].iter().product();
        shape[rank - 1] = channels;
        let inputs = inputs.iter().map(|x| dense(x)).collect::<Result<Vec<_>>>()?;
        let views: Vec<View> = inputs.iter().map(View::new).collect();
        let mut sources = Vec::with_capacity(2);
        for (view, x) in views.iter().zip(&inputs) {
            sources.push((view.slice()?, x.dims()[rank - 1]));
        }
        let adaptive = match scale_shift {
            Some((scale, shift)) => Some((to_vec(scale)?, to_vec(shift)?)),
            None => None,
        };
        let sums = Sums::of(self.level, &sources, batch, positions);
        let coefficients = combine(self, &sums, adaptive.as_ref().map(|(a, b)| (a.as_slice(), b.as_slice())));
        let step = STEP.div_ceil(channels.max(1));
        let per_sample = positions.div_ceil(step);
        let run = |out: Shared<f32>| {
            let streamed = sources.len() == 1 && streams(out, batch * positions * channels, channels);
            pool::run(batch * per_sample, |i| {
                let (sample, first) = (i / per_sample, i % per_sample * step);
                let rows = step.min(positions - first);
                let mut column = 0;
                for (data, width) in &sources {
                    let at = (sample * positions + first) * width;
                    let task = Apply {
                        x: data[at..at + rows * width].as_ptr(),
                        rows,
                        width: *width,
                        // Scale and shift of every channel of this sample.
                        scale: &coefficients[2 * sample * channels + column..][..*width],
                        shift: &coefficients[(2 * sample + 1) * channels + column..][..*width],
                        // SAFETY: tasks write disjoint rows, sources disjoint columns.
                        out: unsafe { out.get().add((sample * positions + first) * channels + column) },
                        stride: channels,
                        activation,
                        streamed,
                    };
                    dispatch(self.level, task);
                    column += width;
                }
            })
        };
        // SAFETY: every row of every sample is written.
        unsafe { output(shape.as_slice(), run) }?.to_dtype(dtype)
    }
}

/// `activation(x * scale + shift)` of some rows.
pub(super) struct Apply<'a> {
    /// May be `out`.
    pub x: *const f32,
    pub rows: usize,
    pub width: usize,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub out: *mut f32,
    /// Between rows of the output.
    pub stride: usize,
    pub activation: Option<Activation>,
    pub streamed: bool,
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.activation {
            None => self.rows::<S>(None),
            // The common one apart, so that its loop holds nothing else.
            Some(Activation::Silu) => self.rows::<S>(Some(Activation::Silu)),
            other => self.rows::<S>(other),
        }
        S::fence()
    }
}

impl Apply<'_> {
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, activation: Option<Activation>) {
        let whole = self.width / S::LANES * S::LANES;
        let rest = self.width - whole;
        let (scale, shift) = (self.scale.as_ptr(), self.shift.as_ptr());
        for i in 0..self.rows {
            let (from, to) = (self.x.add(i * self.width), self.out.add(i * self.stride));
            let mut j = 0;
            while j < whole {
                let y = S::fma(S::load(from.add(j)), S::load(scale.add(j)), S::load(shift.add(j)));
                let y = maybe::<S>(activation, y);
                if self.streamed {
                    S::stream(to.add(j), y)
                } else {
                    S::store(to.add(j), y)
                }
                j += S::LANES;
            }
            if rest > 0 {
                let y = S::fma(S::load_part(from.add(j), rest), S::load_part(scale.add(j), rest), S::load_part(shift.add(j), rest));
                S::store_part(to.add(j), maybe::<S>(activation, y), rest);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn maybe<S: Simd>(activation: Option<Activation>, y: S::V) -> S::V {
    match activation {
        Some(activation) => activate::<S>(activation, y),
        None => y,
    }
}
