//! The norm whose scale and shift are images: positions read them from a smaller grid, so that they are never enlarged.

use super::cpu::{maybe, Body, STEP};
use super::statistics::{combine, Sums};
use crate::buffer::{dense, output, View};
use crate::conv2d::nearest;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use crate::Activation;
use candle_core::{Result, Tensor};

/// x (B, H, W, C) with maps (scale, shift) of (B, h, w, C) -> (B, H, W, C), in x's dtype.
pub(super) fn forward(body: &Body, x: &Tensor, maps: [&Tensor; 2], activation: Option<Activation>) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (_, h, w, _) = maps[0].dims4()?;
    let (input, scale, shift) = (dense(x)?, dense(maps[0])?, dense(maps[1])?);
    let (input, scale, shift) = (View::new(&input), View::new(&scale), View::new(&shift));
    let (data, scale, shift) = (input.slice()?, scale.slice()?, shift.slice()?);
    let sums = Sums::of(body.level, &[(data, channels)], batch, height * width);
    let coefficients = combine(body, &sums, None);
    let columns: Vec<usize> = (0..width).map(|j| nearest(j, w, width) * channels).collect();
    let rows = STEP.div_ceil(channels * width).min(height);
    let per_sample = height.div_ceil(rows);
    let run = |out: Shared<f32>| {
        pool::run(batch * per_sample, |i| {
            let (sample, first) = (i / per_sample, i % per_sample * rows);
            for row in first..height.min(first + rows) {
                let at = (sample * height + row) * width * channels;
                let small = (sample * h + nearest(row, h, height)) * w * channels;
                let task = Row {
                    x: &data[at..at + width * channels],
                    norm: [0, 1].map(|k| &coefficients[(2 * sample + k) * channels..][..channels]),
                    maps: [scale, shift].map(|map| &map[small..small + w * channels]),
                    columns: &columns,
                    // SAFETY: tasks write disjoint rows.
                    out: unsafe { out.get().add(at) },
                    activation,
                };
                dispatch(body.level, task);
            }
        })
    };
    // SAFETY: every row of every sample is written.
    unsafe { output((batch, height, width, channels), run) }?.to_dtype(x.dtype())
}

/// `activation((x * norm[0] + norm[1]) * maps[0] + maps[1])` of one row of positions.
struct Row<'a> {
    x: &'a [f32],
    norm: [&'a [f32]; 2],
    maps: [&'a [f32]; 2],
    /// Where each position of the row reads the maps.
    columns: &'a [usize],
    out: *mut f32,
    activation: Option<Activation>,
}

impl Task for Row<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.activation {
            None => self.positions::<S>(None),
            // The common one apart, so that its loop holds nothing else.
            Some(Activation::Silu) => self.positions::<S>(Some(Activation::Silu)),
            other => self.positions::<S>(other),
        }
    }
}

impl Row<'_> {
    #[inline(always)]
    unsafe fn positions<S: Simd>(&self, activation: Option<Activation>) {
        let channels = self.norm[0].len();
        let whole = channels / S::LANES * S::LANES;
        let rest = channels - whole;
        let [gain, offset] = self.norm.map(<[f32]>::as_ptr);
        for (i, &column) in self.columns.iter().enumerate() {
            let (from, to) = (self.x.as_ptr().add(i * channels), self.out.add(i * channels));
            let [scale, shift] = self.maps.map(|map| map.as_ptr().add(column));
            let mut j = 0;
            while j < whole {
                let y = S::fma(S::load(from.add(j)), S::load(gain.add(j)), S::load(offset.add(j)));
                let y = S::fma(y, S::load(scale.add(j)), S::load(shift.add(j)));
                S::store(to.add(j), maybe::<S>(activation, y));
                j += S::LANES;
            }
            if rest > 0 {
                let part = |p: *const f32| S::load_part(p.add(whole), rest);
                let y = S::fma(S::fma(part(from), part(gain), part(offset)), part(scale), part(shift));
                S::store_part(to.add(whole), maybe::<S>(activation, y), rest);
            }
        }
    }
}
