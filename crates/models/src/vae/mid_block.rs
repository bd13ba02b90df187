use super::coder::CoderShape;
use super::norm::Norm;
use super::resnet::Resnet;
use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Epilogue, Heads, Linear, Mask};

/// Attention with one head over all positions; old checkpoints name its layers `query`, `key`, `value`, `proj_attn`.
/// Source: diffusers attention_processor.py `Attention` with `_from_deprecated_attn_block`.
pub(super) struct SpatialAttention {
    norm: Norm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: Heads,
}

impl SpatialAttention {
    pub fn new(b: &Builder, shape: &CoderShape, channels: usize) -> Result<Self> {
        let linear = |names: [&str; 2]| b.linear(b.either(&names), channels, channels, Bias::Yes);
        Ok(Self {
            norm: Norm::new(b, shape.norm.name_in_attention(), channels, shape)?,
            to_q: linear(["to_q", "query"])?,
            to_k: linear(["to_k", "key"])?,
            to_v: linear(["to_v", "value"])?,
            to_out: linear(["to_out.0", "proj_attn"])?,
            heads: b.heads(1, channels),
        })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, latents: Option<&Tensor>) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = (batch, height * width, channels);
        let normed = self.norm.forward(x, latents, None)?.reshape(tokens)?;
        let (q, k, v) = (self.to_q.forward(&normed)?, self.to_k.forward(&normed)?, self.to_v.forward(&normed)?);
        let mixed = attention(&q, &k, &v, self.heads, Mask::None)?;
        let residual = x.reshape(tokens)?;
        let out = self.to_out.forward_with(&mixed, &Epilogue { residual: Some(&residual), ..Default::default() })?;
        Ok(out.reshape((batch, height, width, channels))?)
    }
}

/// Two resnets with an optional attention between them. Source: diffusers unet_2d_blocks.py `UNetMidBlock2D`.
pub(super) struct MidBlock {
    first: Resnet,
    attention: Option<SpatialAttention>,
    second: Resnet,
}

impl MidBlock {
    pub fn new(b: &Builder, shape: &CoderShape, channels: usize) -> Result<Self> {
        let resnet = |i: usize| Resnet::new(&b.pp(format!("resnets.{i}")), shape, (channels, channels));
        let attention = || SpatialAttention::new(&b.pp("attentions.0"), shape, channels);
        Ok(Self { first: resnet(0)?, attention: shape.mid_attention.then(attention).transpose()?, second: resnet(1)? })
    }

    /// x (B, H, W, C), of which there is no other share, -> (B, H, W, C).
    pub fn forward(&self, x: Tensor, latents: Option<&Tensor>) -> Result<Tensor> {
        let mut x = self.first.forward(x, latents)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x, latents)?;
        }
        self.second.forward(x, latents)
    }
}
