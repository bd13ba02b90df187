use super::attention::{Attention, AttentionShape};
use super::conditioning::Conditioning;
use super::kv_cache::Slots;
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{Epilogue, Geglu, GroupNorm, LayerNorm, Linear};

/// Widening of the feed-forward layer. Source: diffusers attention.py `FeedForward`.
const FEED_FORWARD_FACTOR: usize = 4;

/// What the first attention of a transformer block looks at.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum FirstAttention {
    Image,
    /// `only_cross_attention`: the prompt here too.
    Prompt,
}

#[derive(Clone, Copy)]
pub(crate) struct TransformerShape {
    pub channels: usize,
    pub heads: usize,
    pub layers: usize,
    pub context_width: usize,
    pub groups: usize,
    pub first: FirstAttention,
}

/// Spatial transformer over the positions of an image. Source: diffusers transformer_2d.py `Transformer2DModel` (continuous input).
pub(crate) struct Transformer2D {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2D {
    pub fn new(b: &Builder, shape: TransformerShape, slots: &Slots) -> Result<Self> {
        let TransformerShape { channels, heads, layers, groups, .. } = shape;
        let b = &b.in_bytes();
        let head_width = channels / heads;
        if head_width == 0 {
            return Err(ModelError::config("attention_head_dim", format!("at most {channels} heads"), heads));
        }
        let inner = heads * head_width;
        let blocks = (0..layers).map(|i| TransformerBlock::new(&b.pp(format!("transformer_blocks.{i}")), shape, slots));
        Ok(Self {
            norm: b.group_norm("norm", channels, groups, 1e-6)?,
            proj_in: b.linear("proj_in", channels, inner, Bias::Yes)?,
            blocks: blocks.collect::<Result<_>>()?,
            proj_out: b.linear("proj_out", inner, channels, Bias::Yes)?,
        })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, cond: &Conditioning) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let mut hidden = self.proj_in.forward(&self.norm.forward(x, None)?.reshape((batch, height * width, channels))?)?;
        for block in &self.blocks {
            cond.cancel.check()?;
            hidden = block.forward(hidden, cond)?;
        }
        let residual = cond.all(&x.reshape((batch, height * width, channels))?)?;
        let out = self.proj_out.forward_with(&hidden, &Epilogue { residual: Some(&residual), ..Default::default() })?;
        Ok(out.reshape(((), height, width, channels))?)
    }
}

/// Self-attention, cross-attention and a gated feed-forward layer. Source: diffusers attention.py `BasicTransformerBlock`.
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Geglu,
    ff_out: Linear,
    first: FirstAttention,
}

impl TransformerBlock {
    fn new(b: &Builder, shape: TransformerShape, slots: &Slots) -> Result<Self> {
        let head_width = shape.channels / shape.heads;
        let width = shape.heads * head_width;
        let cross = AttentionShape { query_width: width, context_width: shape.context_width, heads: shape.heads, head_width, bias: Bias::No };
        let attn1 = match shape.first {
            FirstAttention::Image => Attention::image_self_attention(&b.pp("attn1"), AttentionShape { context_width: width, ..cross }, slots)?,
            FirstAttention::Prompt => Attention::cross_attention(&b.pp("attn1"), cross, slots)?,
        };
        Ok(Self {
            norm1: b.layer_norm("norm1", width, 1e-5)?,
            attn1,
            norm2: b.layer_norm("norm2", width, 1e-5)?,
            attn2: Attention::image_cross_attention(&b.pp("attn2"), cross, slots)?,
            norm3: b.layer_norm("norm3", width, 1e-5)?,
            ff_in: b.geglu("ff.net.0.proj", width, FEED_FORWARD_FACTOR * width)?,
            ff_out: b.linear("ff.net.2", FEED_FORWARD_FACTOR * width, width, Bias::Yes)?,
            first: shape.first,
        })
    }

    fn forward(&self, mut x: Tensor, cond: &Conditioning) -> Result<Tensor> {
        // Overwritten, not shadowed: each sum is freed when the next one is there.
        x = match self.first {
            FirstAttention::Image => self.attn1.forward_image(&self.norm1.forward(&x)?, cond, &x)?,
            FirstAttention::Prompt => self.attn1.forward_cross(&self.norm1.forward(&x)?, cond, None, &x)?,
        };
        x = self.attn2.forward_cross(&self.norm2.forward(&x)?, cond, cond.context_bias, &x)?;
        let gated = self.ff_in.forward(&self.norm3.forward(&x)?)?;
        Ok(self.ff_out.forward_with(&gated, &Epilogue { residual: Some(&x), ..Default::default() })?)
    }
}
