//! Attention with the queries in the lanes. For one panel of queries and a block of keys:
//!   S^T = K Q^T (keys are broadcast, the packed queries are the panel),
//!   P^T = 2^(S^T - max) (all vertical: no horizontal reduction anywhere),
//!   O^T += V^T P^T (values are broadcast, P^T is the panel, in L1).
//! No head dimension wastes lanes, and neither S nor P ever leaves the cache.

use super::down::{down, DownCall};
use super::heads::{Heads, GROUP};
use super::softmax::{Running, NEVER};
use super::Mask;
use crate::buffer::{dense, output, Buffer, View};
use crate::cpu::Level;
use crate::gemm::MR;
use crate::pool;
use crate::simd::{dispatch, geometry, Shared, Simd, Task};
use candle_core::{Result, Tensor};
use std::cell::RefCell;
use std::f32::consts::LOG2_E;

/// Keys per block: S^T of one block fits into L1. Measured flat between 48 and 96.
const KEYS: usize = 3 * GROUP;
/// As many keys at most are one block: those of a prompt, whose result then never waits for more.
const SHORT: usize = 5 * GROUP;
/// Numbers of a cache line.
const LINE: usize = 16;
/// Numbers of keys and values that stay in L2.
const RESIDENT: usize = 1 << 18;
/// Multiply-adds below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 18;

/// Sizes of one call.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    queries: usize,
    keys: usize,
    dim: usize,
}

/// Packed queries, scores, transposed result.
#[derive(Default)]
struct Scratch {
    panel: Buffer<f32>,
    scores: Buffer<f32>,
    result: Buffer<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) fn attention(level: Level, qkv: [&Tensor; 3], heads: usize, scale: f32, mask: Mask) -> Result<Tensor> {
    let (batch, queries, channels) = qkv[0].dims3()?;
    let shape = Shape { heads, queries, keys: qkv[1].dims()[1], dim: channels / heads };
    let [q, k, v] = [dense(qkv[0])?, dense(qkv[1])?, dense(qkv[2])?];
    let (q, k, v) = (View::new(&q), View::new(&k), View::new(&v));
    let (q, k, v) = (q.slice()?, k.slice()?, v.slice()?);
    let bias = match mask {
        Mask::Bias(bias) => Some(dense(&bias.broadcast_as((batch, heads, queries, shape.keys))?)?),
        _ => None,
    };
    let bias = bias.as_ref().map(View::new);
    let bias = bias.as_ref().map(View::slice).transpose()?;
    let (lanes, vectors) = geometry(level);
    let blocks = queries.div_ceil(lanes * vectors);
    // Few keys stay in L2 for all heads: then the heads of a panel follow each other, which share the cache lines of queries and results.
    let few = 2 * shape.keys * channels <= RESIDENT;
    let run = |out: Shared<f32>| {
        // Base 2, so that the softmax needs no product for it.
        Heads { batch, rows: shape.keys, heads, dim: shape.dim }.gathered(level, k, v, scale * LOG2_E, |k, v| {
            let task = |i: usize| {
                SCRATCH.with_borrow_mut(|scratch| {
                    let (head, block) = if few {
                        let within = i % (blocks * heads);
                        (i / (blocks * heads) * heads + within % heads, within / heads)
                    } else {
                        (i / blocks, i % blocks)
                    };
                    let first = block * lanes * vectors;
                    let causal = matches!(mask, Mask::Causal);
                    dispatch(level, Block { shape, q, k, v, bias, causal, few, head, first, scratch, out: out.get() })
                })
            };
            let count = batch * heads * blocks;
            if batch * heads * queries * shape.keys * shape.dim < SERIAL {
                (0..count).for_each(task)
            } else {
                pool::run(count, task)
            }
        })
    };
    // SAFETY: the blocks cover all queries of all heads.
    unsafe { output(qkv[0].shape(), run) }?.to_dtype(qkv[0].dtype())
}

/// One panel of queries of one head.
struct Block<'a> {
    shape: Shape,
    q: &'a [f32],
    /// See [`Heads::gathered`].
    k: &'a [f32],
    /// (batch, heads, keys, dim)
    v: &'a [f32],
    /// (batch, heads, queries, keys).
    bias: Option<&'a [f32]>,
    causal: bool,
    /// The next head of these queries follows.
    few: bool,
    /// sample * heads + head.
    head: usize,
    first: usize,
    scratch: &'a mut Scratch,
    out: *mut f32,
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let left = self.shape.queries - self.first;
        match left.div_ceil(S::LANES).min(S::PANEL) {
            1 => self.run_wide::<S, 1>(),
            2 => self.run_wide::<S, 2>(),
            3 => self.run_wide::<S, 3>(),
            _ => self.run_wide::<S, 4>(),
        }
    }
}

impl Block<'_> {
    /// With `NV` vectors of queries.
    #[inline(always)]
    unsafe fn run_wide<S: Simd, const NV: usize>(self) {
        let Self { shape, q, k, v, head, first, out, .. } = self;
        let (dim, width, stride) = (shape.dim, NV * S::LANES, shape.heads * shape.dim);
        let count = width.min(shape.queries - first);
        let panel = self.scratch.panel.at_least(dim * width).as_mut_ptr();
        let scores = self.scratch.scores.at_least(SHORT * width).as_mut_ptr();
        let result = self.scratch.result.at_least(dim * width).as_mut_ptr();
        let at = (head / shape.heads * shape.queries + first) * stride + head % shape.heads * dim;
        for j in 0..NV {
            let rows = count.saturating_sub(j * S::LANES).min(S::LANES);
            for i in (0..dim).step_by(S::LANES) {
                let from = q.as_ptr().wrapping_add(at + j * S::LANES * stride + i);
                S::transpose_part(from, stride, (rows, S::LANES.min(dim - i)), S::splat(1.0), panel.add(i * width + j * S::LANES), width, S::LANES);
            }
        }
        let mut running = Running::<S::V, NV>::new::<S>();
        let visible = if self.causal { shape.keys.min(first + count) } else { shape.keys };
        // Equal blocks of whole groups.
        let blocks = if visible <= SHORT { 1 } else { visible.div_ceil(KEYS) };
        let step = visible.div_ceil(blocks).next_multiple_of(GROUP);
        let next = match (self.few, (head + 1) % shape.heads) {
            (true, 0) => (at + width * stride).wrapping_sub((shape.heads - 1) * dim),
            (true, _) => at + dim,
            (false, _) => at + width * stride,
        };
        let mut ahead = Ahead {
            q: q.as_ptr().wrapping_add(next),
            out: out.wrapping_add(next),
            stride,
            dim,
            rows: count,
            quota: count.div_ceil(visible.div_ceil(MR)),
        };
        let mut k0 = 0;
        while k0 < visible {
            let keys = step.min(visible - k0);
            let group = (head * shape.keys.next_multiple_of(GROUP) + k0) * dim;
            score::<S, NV>(k.as_ptr().add(group), keys, dim, panel, scores, &mut ahead);
            if self.causal && k0 + keys > first + 1 {
                hide_later(scores, width, k0, keys, first);
            }
            if let Some(bias) = self.bias {
                let at = (head * shape.queries + first) * shape.keys + k0;
                add_bias(scores, width, keys, bias.as_ptr().add(at), shape.keys, count);
            }
            running.weigh::<S>(scores, keys, result, if k0 == 0 { 0 } else { dim });
            let values = v.as_ptr().add((head * shape.keys + k0) * dim);
            parts(dim, |i, n| {
                let call = DownCall { a: values.add(i), step: dim, k: keys, b: scores, c: result.add(i * width), first: k0 == 0 };
                down::<S>(NV, n)(&call)
            });
            k0 += keys;
        }
        for j in 0..NV {
            let (columns, inverse) = (count.saturating_sub(j * S::LANES).min(S::LANES), S::div(S::splat(1.0), running.sum[j]));
            for i in (0..dim).step_by(S::LANES) {
                let (rows, to) = (S::LANES.min(dim - i), out.wrapping_add(at + j * S::LANES * stride + i));
                S::transpose_part(result.add(i * width + j * S::LANES), width, (rows, columns), inverse, to, stride, rows);
            }
        }
    }
}

/// Queries and results of the next task, brought closer a few rows with every tile: their lines are too far apart for the CPU to expect them.
struct Ahead {
    q: *const f32,
    out: *const f32,
    stride: usize,
    dim: usize,
    /// Rows to come, and how many of them with one tile.
    rows: usize,
    quota: usize,
}

impl Ahead {
    #[inline(always)]
    unsafe fn step<S: Simd>(&mut self) {
        for _ in 0..self.quota.min(self.rows) {
            for j in (0..self.dim).step_by(LINE).chain([self.dim.saturating_sub(1)]) {
                S::prefetch(self.q.wrapping_add(j));
                S::prefetch(self.out.wrapping_add(j));
            }
            (self.q, self.out) = (self.q.wrapping_add(self.stride), self.out.wrapping_add(self.stride));
        }
        self.rows -= self.quota.min(self.rows);
    }
}

/// Scores `[key][width]` of a block of keys.
#[inline(always)]
unsafe fn score<S: Simd, const NV: usize>(k: *const f32, keys: usize, dim: usize, panel: *const f32, scores: *mut f32, ahead: &mut Ahead) {
    for first in (0..keys).step_by(GROUP) {
        parts(GROUP.min(keys - first), |r, n| {
            let c = scores.add((first + r) * NV * S::LANES);
            down::<S>(NV, n)(&DownCall { a: k.add(first * dim + r), step: GROUP, k: dim, b: panel, c, first: true });
            ahead.step::<S>();
        })
    }
}

/// Calls `f(first, count)` for equal parts of at most a tile's rows.
#[inline(always)]
unsafe fn parts(total: usize, mut f: impl FnMut(usize, usize)) {
    let (count, mut first) = (total.div_ceil(MR), 0);
    for part in 0..count {
        let n = (total - first).div_ceil(count - part);
        f(first, n);
        first += n;
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
