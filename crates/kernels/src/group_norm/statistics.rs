//! Mean and variance of groups from one pass over the numbers.
//!
//! Each channel of each block of rows is summed in f32 relative to a pivot (its first value), so that a large mean costs no digits; blocks are combined in f64,
//! always in the same order.

use super::cpu::{Body, Source};
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};

/// Rows per block: short enough for f32 sums.
const ROWS: usize = 128;

/// Of one channel of one block: pivot, sum and sum of squares of what exceeds it; `[sample][block][quantity][channel]`.
pub(super) struct Sums {
    data: Vec<f32>,
    batch: usize,
    positions: usize,
    channels: usize,
}

impl Sums {
    pub fn of(level: Level, sources: &[Source], batch: usize, positions: usize) -> Self {
        let channels: usize = sources.iter().map(|(_, width)| width).sum();
        let blocks = positions.div_ceil(ROWS);
        let mut data = vec![0.0; batch * blocks * 3 * channels];
        let to = Shared::new(data.as_mut_ptr());
        let block = |i: usize| {
            let (sample, first) = (i / blocks, i % blocks * ROWS);
            let rows = ROWS.min(positions - first);
            let mut column = 0;
            for (values, width) in sources {
                let at = (sample * positions + first) * width;
                // SAFETY: each block writes its own sums, inside the vector.
                let sums = unsafe { to.get().add(i * 3 * channels + column) };
                dispatch(level, Sum { x: &values[at..at + rows * width], width: *width, sums, stride: channels });
                column += width;
            }
        };
        // Blocks of narrow images are too small to hand out one by one.
        let group = (1usize << 15).div_ceil(ROWS * channels.max(1));
        let count = batch * blocks;
        pool::run(count.div_ceil(group), |g| (g * group..count.min((g + 1) * group)).for_each(block));
        Self { data, batch, positions, channels }
    }
}

struct Sum<'a> {
    x: &'a [f32],
    width: usize,
    sums: *mut f32,
    stride: usize,
}

impl Task for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut j = 0;
        while j + 4 * S::LANES <= self.width {
            self.columns::<S, 4>(j, S::LANES);
            j += 4 * S::LANES;
        }
        while j < self.width {
            self.columns::<S, 1>(j, S::LANES.min(self.width - j));
            j += S::LANES;
        }
    }
}

impl Sum<'_> {
    /// `N` vectors of columns from `j` on, the last of `n` lanes.
    #[inline(always)]
    unsafe fn columns<S: Simd, const N: usize>(&self, j: usize, n: usize) {
        let from = self.x.as_ptr().add(j);
        let rows = self.x.len() / self.width;
        let (mut pivot, mut sum, mut square) = ([S::splat(0.0); N], [S::splat(0.0); N], [S::splat(0.0); N]);
        for i in 0..N {
            pivot[i] = S::load_part(from.add(i * S::LANES), n);
        }
        for r in 1..rows {
            for i in 0..N {
                let p = from.add(r * self.width + i * S::LANES);
                let x = S::sub(if n == S::LANES { S::load(p) } else { S::load_part(p, n) }, pivot[i]);
                sum[i] = S::add(sum[i], x);
                square[i] = S::fma(x, x, square[i]);
            }
        }
        for i in 0..N {
            let to = self.sums.add(j + i * S::LANES);
            S::store_part(to, pivot[i], n);
            S::store_part(to.add(self.stride), sum[i], n);
            S::store_part(to.add(2 * self.stride), square[i], n);
        }
    }
}

/// Per sample the scale of every channel, then the shift of every channel: `norm(x) = x * scale + shift`.
pub(super) fn combine(body: &Body, sums: &Sums, adaptive: Option<(&[f32], &[f32])>) -> Vec<f32> {
    let (channels, blocks) = (sums.channels, sums.positions.div_ceil(ROWS));
    let width = channels / body.groups;
    let mut out = vec![0.0; sums.batch * 2 * channels];
    for sample in 0..sums.batch {
        for group in 0..body.groups {
            let columns = group * width..(group + 1) * width;
            let (mean, variance) = moments(sums, sample, blocks, columns.clone());
            let inverse = 1.0 / (variance + body.eps).sqrt();
            for c in columns {
                let (gain, offset) = match adaptive {
                    Some((scale, shift)) => (1.0 + f64::from(scale[sample * channels + c]), f64::from(shift[sample * channels + c])),
                    None => (1.0, 0.0),
                };
                let scale = f64::from(body.weight[c]) * inverse;
                out[2 * sample * channels + c] = (scale * gain) as f32;
                out[(2 * sample + 1) * channels + c] = ((f64::from(body.bias[c]) - mean * scale) * gain + offset) as f32;
            }
        }
    }
    out
}

/// Mean and variance of some channels of a sample.
fn moments(sums: &Sums, sample: usize, blocks: usize, columns: std::ops::Range<usize>) -> (f64, f64) {
    let total = (sums.positions * columns.len()) as f64;
    let rows = |block: usize| ROWS.min(sums.positions - block * ROWS) as f64;
    let at = |block: usize, quantity: usize, c: usize| f64::from(sums.data[((sample * blocks + block) * 3 + quantity) * sums.channels + c]);
    let each = || (0..blocks).flat_map(|block| columns.clone().map(move |c| (block, c)));
    let mean = each().map(|(block, c)| rows(block) * at(block, 0, c) + at(block, 1, c)).sum::<f64>() / total;
    // Around the mean: sum (x - m)^2 = q + 2 d s + n d^2 with d = pivot - m.
    let part = |(block, c): (usize, usize)| {
        let d = at(block, 0, c) - mean;
        at(block, 2, c) + 2.0 * d * at(block, 1, c) + rows(block) * d * d
    };
    (mean, each().map(part).sum::<f64>() / total)
}
