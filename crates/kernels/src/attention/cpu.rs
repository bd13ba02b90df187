//! Attention with the queries in the lanes. For one panel of queries and a block of keys:
//!   S^T = K Q^T (keys are broadcast, the packed queries are the panel: the GEMM micro-kernel as it is),
//!   P^T = 2^(S^T - max) (all vertical: no horizontal reduction anywhere),
//!   O^T += V^T P^T (values are broadcast, P^T is the panel, in L1).
//! No head dimension wastes lanes, and neither S nor P ever leaves the cache.

use super::down::{down, DownCall};
use super::heads::Heads;
use super::panel::{copy, pack_queries, transpose_blocks};
use super::softmax::{Running, NEVER};
use super::Mask;
use crate::buffer::{dense, output, Buffer, View};
use crate::cpu::Level;
use crate::gemm::{kernels, Call, Run, MR};
use crate::pool;
use crate::simd::{dispatch, geometry, Shared, Simd, Task};
use candle_core::{Result, Tensor};
use std::cell::RefCell;
use std::f32::consts::LOG2_E;

/// Keys per block, a multiple of the micro-kernel's rows: S^T of one block fits into L1. Measured flat between 48 and 96.
const KEYS: usize = 48;
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

/// Packed queries (and the result's rows), scores, transposed result.
#[derive(Default)]
struct Scratch {
    rows: Buffer<f32>,
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
        Heads { batch, rows: shape.keys, heads, dim: shape.dim }.gathered(k, v, |k, v| {
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
                    dispatch(level, Block { shape, q, k, v, bias, causal, scale, head, first, scratch, out: out.get() })
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
    /// (batch, heads, keys, dim), as v.
    k: &'a [f32],
    v: &'a [f32],
    /// (batch, heads, queries, keys).
    bias: Option<&'a [f32]>,
    causal: bool,
    scale: f32,
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
        let (sample, column) = (head / shape.heads, head % shape.heads * dim);
        // Rows of queries and of the result, padded to whole blocks of the transpose.
        let padded = dim.next_multiple_of(S::LANES);
        let rows = self.scratch.rows.at_least(width * padded).as_mut_ptr();
        let panel = self.scratch.panel.at_least(padded * width).as_mut_ptr();
        let scores = self.scratch.scores.at_least(KEYS * width).as_mut_ptr();
        let result = self.scratch.result.at_least(padded * width).as_mut_ptr();
        let at = (sample * shape.queries + first) * stride + column;
        pack_queries::<S>(q.as_ptr().add(at), stride, count, (dim, padded, width), self.scale * LOG2_E, rows, panel);
        let mut running = Running::<S::V, NV>::new::<S>();
        let visible = if self.causal { shape.keys.min(first + count) } else { shape.keys };
        // Equal blocks, so that no short one is left over.
        let step = visible.div_ceil(visible.div_ceil(KEYS).max(1)).next_multiple_of(MR);
        let mut k0 = 0;
        while k0 < visible {
            let keys = step.min(visible - k0);
            let here = (head * shape.keys + k0) * dim;
            score::<S, NV>(k.as_ptr().add(here), keys, dim, panel, scores);
            if self.causal && k0 + keys > first + 1 {
                hide_later(scores, width, k0, keys, first);
            }
            if let Some(bias) = self.bias {
                let at = (head * shape.queries + first) * shape.keys + k0;
                add_bias(scores, width, keys, bias.as_ptr().add(at), shape.keys, count);
            }
            running.weigh::<S>(scores, keys, result, if k0 == 0 { 0 } else { dim });
            let mut i = 0;
            while i < dim {
                let n = MR.min(dim - i);
                let call = DownCall { a: v.as_ptr().add(here + i), step: dim, k: keys, b: scores, c: result.add(i * width), first: k0 == 0 };
                down::<S>(NV, n)(&call);
                i += n;
            }
            k0 += keys;
        }
        transpose_blocks::<S>(result, width, rows, padded, padded, width);
        for j in 0..NV {
            // The panel is done with: its first numbers take the inverse sums.
            S::store(panel.add(j * S::LANES), S::div(S::splat(1.0), running.sum[j]));
        }
        for i in 0..count {
            copy::<S>(rows.add(i * padded), out.add(at + i * stride), dim, *panel.add(i));
        }
    }
}

/// Scores `[key][width]` of a block of keys.
#[inline(always)]
unsafe fn score<S: Simd, const NV: usize>(k: *const f32, keys: usize, dim: usize, panel: *const f32, scores: *mut f32) {
    let (kernels, run) = (kernels::<S>(), Run { set: 0, k0: 0, len: dim });
    let mut rows = [std::ptr::null::<f32>(); 2 * MR];
    let mut r = 0;
    while r < keys {
        let n = MR.min(keys - r);
        for (i, row) in rows.iter_mut().enumerate() {
            *row = k.wrapping_add((r + i) * dim);
        }
        // The kernel prefetches what follows the n rows that it reads.
        let call = Call { rows: rows.as_ptr(), set_stride: 0, runs: &run, run_count: 1, b: panel, c: scores.add(r * NV * S::LANES), first: true };
        kernels[NV - 1][n - 1](&call);
        r += n;
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
