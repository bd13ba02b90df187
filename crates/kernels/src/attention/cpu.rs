//! Which panels of queries there are, and in which order.

use super::lane::{dispatch_lane, Held};
use super::panel::{Panel, Place, Scratch};
use super::source::{Source, Tokens, SHORT};
use super::{Heads, Mask};
use crate::buffer::{dense, output, View};
use crate::cpu::{has_bf16, Level};
use crate::gemm::{Float, Pair, Unit};
use crate::pool;
use crate::simd::{geometry, Shared};
use candle_core::{Result, Tensor};
use std::cell::RefCell;
use std::f32::consts::LOG2_E;
use std::marker::PhantomData;

/// With at most so many panels of queries keys and values of f32 are read where they are; with more it pays to lay them out for the tile first.
const IN_PLACE: usize = 4;
/// Multiply-adds below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 18;

/// Sizes of one call.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub dim: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) fn attention(level: Level, qkv: [&Tensor; 3], heads: Heads, mask: Mask) -> Result<Tensor> {
    match heads.unit {
        Unit::Pair if has_bf16(level) => attend::<Pair<true>>(level, qkv, heads, mask),
        Unit::Pair => attend::<Pair<false>>(level, qkv, heads, mask),
        _ => attend::<Float>(level, qkv, heads, mask),
    }
}

fn attend<L: Held>(level: Level, qkv: [&Tensor; 3], heads: Heads, mask: Mask) -> Result<Tensor> {
    let (batch, queries, channels) = qkv[0].dims3()?;
    let Heads { count: heads, scale, .. } = heads;
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
    let panels = Panels::new(level, batch, shape);
    let compute = |source: Source, out: Shared<f32>| {
        let task = |i: usize| {
            SCRATCH.with_borrow_mut(|scratch| {
                let (place, next) = (panels.place(i), (i + 1 < panels.count).then(|| panels.place(i + 1)));
                let causal = matches!(mask, Mask::Causal);
                // Base 2, so that the softmax needs no product for it.
                let (scale, out, lane) = (scale * LOG2_E, out.get(), PhantomData);
                dispatch_lane::<L, _>(level, Panel::<L> { shape, q, source, bias, causal, scale, place, next, scratch, out, lane })
            })
        };
        if batch * heads * queries * shape.keys * shape.dim < SERIAL {
            (0..panels.count).for_each(task)
        } else {
            pool::run(panels.count, task)
        }
    };
    let all = Tokens { batch, rows: shape.keys, heads, dim: shape.dim };
    let run = |out: Shared<f32>| {
        if L::NUMBERS == 1 && panels.per_head <= IN_PLACE {
            compute(all.in_place(k, v), out)
        } else {
            all.gathered::<L, _>(level, k, v, |source| compute(source, out))
        }
    };
    // SAFETY: the panels cover all queries of all heads.
    unsafe { output(qkv[0].shape(), run) }?.to_dtype(qkv[0].dtype())
}

/// All panels of a call.
struct Panels {
    shape: Shape,
    lanes: usize,
    /// Vectors of queries of a head.
    vectors: usize,
    per_head: usize,
    count: usize,
}

impl Panels {
    fn new(level: Level, batch: usize, shape: Shape) -> Self {
        let (lanes, widest) = geometry(level);
        let vectors = shape.queries.div_ceil(lanes);
        let per_head = vectors.div_ceil(widest);
        Self { shape, lanes, vectors, per_head, count: batch * shape.heads * per_head }
    }

    /// The panels of a head follow each other, which share its keys; where those are few, the heads of a panel, which share its pages.
    fn place(&self, i: usize) -> Place {
        let Shape { heads, queries, keys, .. } = self.shape;
        let (head, panel) = if keys <= SHORT && self.per_head > IN_PLACE {
            let (sample, within) = (i / (self.per_head * heads), i % (self.per_head * heads));
            (sample * heads + within % heads, within / heads)
        } else {
            (i / self.per_head, i % self.per_head)
        };
        // Panels of equal width.
        let start = |panel: usize| panel * self.vectors / self.per_head * self.lanes;
        Place { head, first: start(panel), count: start(panel + 1).min(queries) - start(panel) }
    }
}
