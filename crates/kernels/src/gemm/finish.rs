//! What happens to a finished register tile while it is still in L1.

use super::pack::Panel;
use crate::simd::math::{activate, gelu};
use crate::simd::{Shared, Simd};
use crate::Activation;

/// Rows are pixels of an image this wide and go to the pixels of one parity of an image twice as large.
#[derive(Clone, Copy)]
pub(crate) struct Phase {
    pub width: usize,
    pub y: usize,
    pub x: usize,
}

/// `out[row] = scale * activation(tile + bias + per_sample) + residual`, or `(tile + bias) * gelu(gate tile + gate bias)` for a gated matrix.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub out: Shared<f32>,
    /// Columns of the output.
    pub n: usize,
    /// Of the packed matrix: `n` numbers, or `2 n` for a gated one.
    pub bias: Option<&'a [f32]>,
    /// (samples, n) and the rows per sample.
    pub per_sample: Option<(&'a [f32], usize)>,
    pub activation: Option<Activation>,
    pub scale: f32,
    pub residual: Option<&'a [f32]>,
    pub phase: Option<Phase>,
    /// Whole vectors go past the caches; who asks for it ends its tasks with [`Simd::fence`].
    pub streamed: bool,
}

impl Finish<'_> {
    /// Takes `rows` rows from `row` on of one panel.
    #[inline(always)]
    pub unsafe fn store<S: Simd>(&self, panel: &Panel, gated: bool, row: usize, rows: usize, tile: *const f32) {
        let width = panel.vectors * S::LANES;
        for r in 0..rows {
            let to = match self.phase {
                None => row + r,
                Some(Phase { width: w, y, x }) => {
                    let m = row + r;
                    ((m / w * 2 + y) * w + m % w) * 2 + x
                }
            };
            let from = tile.add(r * width);
            if gated {
                self.gate::<S>(panel, to, from, width / 2)
            } else {
                self.row::<S>(panel, to, from)
            }
        }
    }

    #[inline(always)]
    unsafe fn row<S: Simd>(&self, panel: &Panel, to: usize, from: *const f32) {
        let mut i = 0;
        while i < panel.cols {
            self.vector::<S>(to, panel.first + i, S::load(from.add(i)), S::LANES.min(panel.cols - i));
            i += S::LANES;
        }
    }

    /// Finishes `n` columns of the output row `to`, from `column` on.
    #[inline(always)]
    pub unsafe fn vector<S: Simd>(&self, to: usize, column: usize, v: S::V, n: usize) {
        let (mut v, at) = (v, to * self.n + column);
        if let Some(bias) = self.bias {
            v = S::add(v, load::<S>(bias.as_ptr().add(column), n));
        }
        if let Some((values, rows)) = self.per_sample {
            v = S::add(v, load::<S>(values.as_ptr().add(to / rows * self.n + column), n));
        }
        if let Some(activation) = self.activation {
            v = activate::<S>(activation, v);
        }
        v = S::mul(v, S::splat(self.scale));
        if let Some(residual) = self.residual {
            v = S::add(v, load::<S>(residual.as_ptr().add(at), n));
        }
        let to = self.out.get().add(at);
        match n == S::LANES {
            true if self.streamed => S::stream(to, v),
            true => S::store(to, v),
            false => S::store_part(to, v, n),
        }
    }

    #[inline(always)]
    unsafe fn gate<S: Simd>(&self, panel: &Panel, to: usize, from: *const f32, half: usize) {
        let out = self.out.get().add(to * self.n + panel.first);
        let mut i = 0;
        while i < panel.cols {
            let n = S::LANES.min(panel.cols - i);
            let (mut value, mut gate) = (S::load(from.add(i)), S::load(from.add(half + i)));
            if let Some(bias) = self.bias {
                let bias = bias.as_ptr().add(panel.first + i);
                value = S::add(value, load::<S>(bias, n));
                gate = S::add(gate, load::<S>(bias.add(self.n), n));
            }
            store::<S>(out.add(i), S::mul(value, gelu::<S>(gate)), n);
            i += S::LANES;
        }
    }
}

/// Whole vectors without a mask, which some CPUs handle more slowly.
#[inline(always)]
unsafe fn load<S: Simd>(p: *const f32, n: usize) -> S::V {
    if n == S::LANES {
        S::load(p)
    } else {
        S::load_part(p, n)
    }
}

#[inline(always)]
unsafe fn store<S: Simd>(p: *mut f32, x: S::V, n: usize) {
    if n == S::LANES {
        S::store(p, x)
    } else {
        S::store_part(p, x, n)
    }
}
