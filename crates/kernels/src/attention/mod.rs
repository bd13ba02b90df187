//! Scaled dot-product attention with the heads inside the channels.

mod ahead;
mod cpu;
mod lane;
mod panel;
mod softmax;
mod source;
mod tile;

use crate::argument::expect;
use crate::cpu::multiplies_bf16;
use crate::gemm::Unit;
use crate::Storage;
use candle_core::{DType, Result, Tensor, D};

/// Which keys a query may see.
#[derive(Clone, Copy)]
pub enum Mask<'a> {
    /// All of them.
    None,
    /// Key s only for queries l >= s.
    Causal,
    /// Added to the scaled scores; f32, broadcastable to (B, H, L, S).
    Bias(&'a Tensor),
}

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    count: usize,
    scale: f32,
    unit: Unit,
}

impl Heads {
    /// So many, whose scores are multiplied by `scale`, usually `1 / sqrt(D)`.
    ///
    /// `storage` is that of the model's layers: where it keeps floats as BF16 and [`multiplies_bf16`], so are queries, keys, values and weights of the softmax rounded
    /// to be multiplied; scores, exponentials and sums are always f32.
    pub fn new(count: usize, scale: f32, storage: impl Into<Storage>) -> Self {
        let pairs = storage.into().float() == DType::BF16 && multiplies_bf16();
        Self { count, scale, unit: if pairs { Unit::Pair } else { Unit::Float } }
    }
}

/// `softmax(scale * Q K^T + mask) V` per head. On the CPU the score matrix is never stored.
///
/// Shapes: q (B, L, H*D), k and v (B, S, H*D), heads H -> (B, L, H*D). Errors: shapes that do not fit, a head count that does not divide the channels.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, mask: Mask) -> Result<Tensor> {
    for (x, name) in [(q, "q"), (k, "k"), (v, "v")] {
        expect(x.rank() == 3, "three dimensions (B, L, H*D)", name, x.dims())?;
    }
    let (batch, queries, channels) = q.dims3()?;
    let keys = k.dims()[1];
    expect(k.dims() == [batch, keys, channels], &format!("shape ({batch}, S, {channels})"), "k", k.dims())?;
    expect(keys > 0, "at least one key", "k", k.dims())?;
    expect(v.dims() == k.dims(), &format!("shape {:?}", k.dims()), "v", v.dims())?;
    let Heads { count, scale, .. } = heads;
    expect(count > 0 && channels.is_multiple_of(count), &format!("a divisor of {channels}"), "heads", count)?;
    if let Mask::Bias(bias) = mask {
        let full = [batch, count, queries, keys];
        let fits = bias.rank() == 4 && bias.dims().iter().zip(full).all(|(&b, f)| b == 1 || b == f);
        expect(fits, &format!("a shape that broadcasts to {full:?}"), "mask", bias.dims())?;
    }
    let _op = crate::profile::op("attention", || {
        let flops = 4.0 * (batch * queries * keys * channels) as f64;
        (format!("{queries} x {keys} x {}, {} heads", channels / count, batch * count), flops)
    });
    match crate::cpu::ours(q.device(), q.dtype()) {
        Some(level) => cpu::attention(level, [q, k, v], heads, mask),
        None => reference(q, k, v, count, scale, mask),
    }
}

/// In candle ops; half precisions compute their softmax in f32.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f32, mask: Mask) -> Result<Tensor> {
    let (batch, queries, channels) = q.dims3()?;
    let (keys, wide) = (k.dims()[1], crate::argument::wide(q.dtype()));
    let split = |x: &Tensor| x.reshape((batch, (), heads, channels / heads))?.transpose(1, 2)?.contiguous();
    let scores = (split(q)?.matmul(&split(k)?.t()?)?.to_dtype(wide)? * scale as f64)?;
    let scores = match mask {
        Mask::None => scores,
        Mask::Causal => scores.broadcast_add(&causal(queries, keys)?.to_device(q.device())?.to_dtype(wide)?)?,
        Mask::Bias(bias) => scores.broadcast_add(&bias.to_dtype(wide)?)?,
    };
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let weights = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?.to_dtype(q.dtype())?;
    weights.matmul(&split(v)?)?.transpose(1, 2)?.reshape((batch, queries, channels))
}

/// (L, S): 0 where s <= l, else -inf.
fn causal(queries: usize, keys: usize) -> Result<Tensor> {
    let bias: Vec<f32> = (0..queries * keys).map(|i| if i % keys <= i / keys { 0.0 } else { f32::NEG_INFINITY }).collect();
    Tensor::from_vec(bias, (queries, keys), &candle_core::Device::Cpu)?.to_dtype(DType::F32)
}
