//! Convolution to a handful of channels (an image's colours, a latent's four): the sum runs along the lanes, since the columns would not fill one vector.

use super::cpu::{Body, Call};
use super::pixels::Pixels;
use crate::buffer::Buffer;
use crate::gemm::{Finish, Rows, Unit};
use crate::pool;
use crate::simd::{dispatch, Simd, Task};
use std::cell::RefCell;

/// Most output channels; with as many rows they are 16 accumulators.
const COLUMNS: usize = 4;
/// Rows per register tile.
const ROWS: usize = 4;
/// Rows per task.
const STEP: usize = 256;

thread_local! {
    static POINTERS: RefCell<Vec<*const f32>> = const { RefCell::new(Vec::new()) };
}

/// Weights `[tap][column][channel]`, always four columns, channels padded to whole vectors.
pub(super) struct Narrow {
    data: Buffer<f32>,
    padded: usize,
}

/// Whether the call is such a one.
pub(super) fn fits(body: &Body, call: &Call) -> bool {
    body.shape.0 <= COLUMNS && call.sources.len() == 1 && body.packed.unit() != Unit::Quad
}

impl Narrow {
    pub fn new(body: &Body) -> Self {
        let (n, channels, kh, kw) = body.shape;
        let padded = channels.next_multiple_of(16);
        let mut data = Buffer::zeroed(kh * kw * COLUMNS * padded);
        for tap in 0..kh * kw {
            for column in 0..n {
                for k in 0..channels {
                    data[(tap * COLUMNS + column) * padded + k] = body.packed.value(tap, k, column);
                }
            }
        }
        Self { data, padded }
    }

    pub fn run(&self, body: &Body, call: &Call, finish: &Finish) {
        let (_, channels, kh, kw) = body.shape;
        let pixels = Pixels::new(call.sources, &call.grid, (kh, kw), body.config, &body.zeros);
        let rows = call.grid.batch * call.grid.output.0 * call.grid.output.1;
        pool::run(rows.div_ceil(STEP), |i| {
            POINTERS.with_borrow_mut(|pointers| {
                let (first, count) = (i * STEP, STEP.min(rows - i * STEP));
                pointers.resize(kh * kw * STEP, std::ptr::null());
                for tap in 0..kh * kw {
                    pixels.fill(tap, first, &mut pointers[tap * STEP..][..count]);
                }
                dispatch(body.packed.level, Block { weights: self, taps: kh * kw, channels, pointers, first, count, finish })
            })
        });
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        4 * self.data.len()
    }
}

struct Block<'a> {
    weights: &'a Narrow,
    taps: usize,
    channels: usize,
    /// `[tap][row]`.
    pointers: &'a [*const f32],
    first: usize,
    count: usize,
    finish: &'a Finish<'a>,
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut r = 0;
        while r < self.count {
            if r + ROWS <= self.count {
                self.tile::<S, ROWS>(r);
                r += ROWS;
            } else {
                self.tile::<S, 1>(r);
                r += 1;
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize>(&self, row: usize) {
        let mut acc = [[S::splat(0.0); COLUMNS]; M];
        let whole = self.channels / S::LANES * S::LANES;
        for tap in 0..self.taps {
            let w = self.weights.data.as_ptr().add(tap * COLUMNS * self.weights.padded);
            let mut from = [std::ptr::null::<f32>(); M];
            for (r, p) in from.iter_mut().enumerate() {
                *p = self.pointers[tap * STEP + row + r];
            }
            let mut k = 0;
            while k < whole {
                let mut x = [S::splat(0.0); M];
                for r in 0..M {
                    x[r] = S::load(from[r].add(k));
                }
                self.step::<S, M>(&mut acc, &x, w.add(k));
                k += S::LANES;
            }
            if k < self.channels {
                let mut x = [S::splat(0.0); M];
                for r in 0..M {
                    x[r] = S::load_part(from[r].add(k), self.channels - k);
                }
                self.step::<S, M>(&mut acc, &x, w.add(k));
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            let mut sums = [0.0; 16];
            for (sum, acc) in sums.iter_mut().zip(acc) {
                *sum = S::sum(*acc);
            }
            let n = self.finish.n.min(S::LANES);
            self.finish.vector::<S>(self.first + row + r, 0, S::load(sums.as_ptr()), n);
        }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const M: usize>(&self, acc: &mut [[S::V; COLUMNS]; M], x: &[S::V; M], w: *const f32) {
        for j in 0..COLUMNS {
            let w = S::load(w.add(j * self.weights.padded));
            for r in 0..M {
                acc[r][j] = S::fma(x[r], w, acc[r][j]);
            }
        }
    }
}
