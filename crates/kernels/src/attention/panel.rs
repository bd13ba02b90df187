//! Attention with the queries in the lanes. For one panel of queries and a block of keys:
//!   S^T = K Q^T (keys are broadcast, the packed queries are the panel),
//!   P^T = 2^(S^T - max) (all vertical: no horizontal reduction anywhere),
//!   O^T += V^T P^T (values are broadcast, P^T is the panel, in L1).
//! No head dimension wastes lanes, and neither S nor P ever leaves the cache.

use super::ahead::Ahead;
use super::cpu::Shape;
use super::lane::Held;
use super::softmax::{Running, NEVER};
use super::source::{blocked, Source};
use super::tile::{parts, tile, Call};
use crate::buffer::Buffer;
use crate::gemm::MR;
use crate::simd::{Simd, Task};
use std::f32::consts::LOG2_E;
use std::marker::PhantomData;

/// Lanes of queries that stay in L1 while a block of keys passes.
const DEPTH: usize = 96;

/// Packed queries, scores, transposed result.
#[derive(Default)]
pub(super) struct Scratch {
    panel: Buffer<f32>,
    scores: Buffer<f32>,
    result: Buffer<f32>,
}

/// Some queries of one head.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// sample * heads + head.
    pub head: usize,
    pub first: usize,
    pub count: usize,
}

/// One panel of queries of one head.
pub(super) struct Panel<'a, L> {
    pub shape: Shape,
    pub q: &'a [f32],
    pub source: Source<'a>,
    /// (batch, heads, queries, keys).
    pub bias: Option<&'a [f32]>,
    pub causal: bool,
    /// Of the scores, to base 2, so that the softmax needs no product for it.
    pub scale: f32,
    pub place: Place,
    /// The panel that follows.
    pub next: Option<Place>,
    pub scratch: &'a mut Scratch,
    pub out: *mut f32,
    pub lane: PhantomData<L>,
}

impl<L: Held> Task for Panel<'_, L> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.place.count.div_ceil(S::LANES) {
            1 => self.run_wide::<S, 1>(),
            2 => self.run_wide::<S, 2>(),
            3 => self.run_wide::<S, 3>(),
            _ => self.run_wide::<S, 4>(),
        }
    }
}

impl<L: Held> Panel<'_, L> {
    /// With `NV` vectors of queries.
    #[inline(always)]
    unsafe fn run_wide<S: Simd, const NV: usize>(self) {
        let Self { shape, q, source, place: Place { head, first, count }, out, .. } = self;
        let (dim, width, stride) = (shape.dim, NV * S::LANES, shape.heads * shape.dim);
        let (lanes, block) = (dim.div_ceil(L::NUMBERS), blocked(shape.keys));
        let panel = self.scratch.panel.at_least(dim * width).as_mut_ptr();
        let scores = self.scratch.scores.at_least(block * width).as_mut_ptr();
        let result = self.scratch.result.at_least(dim * width).as_mut_ptr();
        let at = self.row(self.place);
        for j in 0..NV {
            let rows = count.saturating_sub(j * S::LANES).min(S::LANES);
            for i in (0..dim).step_by(S::LANES) {
                let from = q.as_ptr().wrapping_add(at + j * S::LANES * stride + i);
                let (part, to) = ((rows, S::LANES.min(dim - i)), panel.add(i * width + j * S::LANES));
                S::transpose_part(from, stride, part, S::splat(self.scale), to, width, S::LANES);
            }
        }
        if L::NUMBERS > 1 {
            hold::<L, S>(panel, width, lanes, dim);
        }
        let mut running = Running::<S::V, NV>::new::<S>();
        let visible = if self.causal { shape.keys.min(first + count) } else { shape.keys };
        let mut ahead = self.ahead(visible);
        for k0 in (0..visible).step_by(block) {
            let keys = block.min(visible - k0);
            score::<L, S, NV>(source.keys(head, k0), keys, lanes, panel, scores, &mut ahead);
            if self.causal && k0 + keys > first + 1 {
                hide_later(scores, width, k0, keys, first);
            }
            if let Some(bias) = self.bias {
                let at = (head * shape.queries + first) * shape.keys + k0;
                add_bias(scores, width, keys, bias.as_ptr().add(at), shape.keys, count);
            }
            running.weigh::<L, S>(scores, keys, result, if k0 == 0 { 0 } else { dim });
            parts(dim, |i, n| {
                let ((a, stride), k, c) = (source.values(head, k0, (i, n)), keys.div_ceil(L::NUMBERS), result.add(i * width));
                tile::<L, S, false>(NV, n)(&mut Call { a, stride, k, b: scores, c, first: k0 == 0, ahead: &mut ahead });
            });
        }
        for j in 0..NV {
            let (columns, inverse) = (count.saturating_sub(j * S::LANES).min(S::LANES), S::div(S::splat(1.0), running.sum[j]));
            for i in (0..dim).step_by(S::LANES) {
                let (rows, to) = (S::LANES.min(dim - i), out.wrapping_add(at + j * S::LANES * stride + i));
                S::transpose_part(result.add(i * width + j * S::LANES), width, (rows, columns), inverse, to, stride, rows);
            }
        }
    }

    /// Where the first query of a place is.
    fn row(&self, place: Place) -> usize {
        let Shape { heads, queries, dim, .. } = self.shape;
        ((place.head / heads * queries + place.first) * heads + place.head % heads) * dim
    }

    /// What the next panel reads and writes.
    fn ahead(&self, visible: usize) -> Ahead {
        let Shape { heads, keys, dim, .. } = self.shape;
        let mut regions = [(self.q.as_ptr(), 0); 4];
        if let Some(next) = self.next {
            let at = self.row(next);
            regions[2] = (self.q.as_ptr().wrapping_add(at), next.count);
            regions[3] = (self.out.cast_const().wrapping_add(at), next.count);
            if !self.source.is_gathered() && next.head != self.place.head {
                let (k, v) = (self.source.keys(next.head, 0).0, self.source.values(next.head, 0, (0, dim)).0);
                (regions[0], regions[1]) = ((k, keys), (v, keys));
            }
        }
        let steps = visible.div_ceil(MR) * dim.div_ceil(L::NUMBERS) + visible.div_ceil(L::NUMBERS) * dim.div_ceil(MR);
        Ahead::new(regions, heads * dim, dim, steps)
    }
}

/// Turns a panel `[dim][width]` into one of lanes, from the same place on.
#[inline(always)]
unsafe fn hold<L: Held, S: Simd>(panel: *mut f32, width: usize, lanes: usize, dim: usize) {
    for i in 0..lanes {
        for j in (0..width).step_by(S::LANES) {
            let at = |row: usize| panel.add(row * width + j);
            let upper = if i + lanes < dim { S::load(at(i + lanes)) } else { S::splat(0.0) };
            S::store(at(i), L::hold::<S>([S::load(at(i)), upper]));
        }
    }
}

/// Scores `[key][width]` of a block of keys.
#[inline(always)]
unsafe fn score<L: Held, S: Simd, const NV: usize>(
    (k, stride): (*const f32, usize),
    keys: usize,
    lanes: usize,
    panel: *const f32,
    scores: *mut f32,
    ahead: &mut Ahead,
) {
    let width = NV * S::LANES;
    let chunks = lanes.div_ceil(DEPTH);
    for chunk in 0..chunks {
        let (i, end) = (chunk * lanes / chunks, (chunk + 1) * lanes / chunks);
        parts(keys, |r, n| {
            let (a, b, c) = (k.wrapping_add(r * stride + i), panel.add(i * width), scores.add(r * width));
            tile::<L, S, true>(NV, n)(&mut Call { a, stride, k: end - i, b, c, first: chunk == 0, ahead });
        })
    }
}

/// Hides from each query the keys after it.
#[inline(always)]
unsafe fn hide_later(scores: *mut f32, width: usize, k0: usize, keys: usize, first: usize) {
    for r in 0..keys {
        let hidden = (k0 + r).saturating_sub(first).min(width);
        for lane in 0..hidden {
            *scores.add(r * width + lane) = NEVER;
        }
    }
}

/// Adds `bias[query][key]`; a query with nothing but hidden keys then gets the mean of the values.
#[inline(always)]
unsafe fn add_bias(scores: *mut f32, width: usize, keys: usize, bias: *const f32, stride: usize, count: usize) {
    for r in 0..keys {
        for lane in 0..count {
            let p = scores.add(r * width + lane);
            *p = (*p + *bias.add(lane * stride + r) * LOG2_E).max(NEVER);
        }
    }
}
