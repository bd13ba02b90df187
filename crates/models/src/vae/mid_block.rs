use crate::blocks::resnet::{ResnetBlock, ResnetShape};
use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Epilogue, GroupNorm, Linear, Mask};

/// Attention with one head over all positions; old checkpoints name its layers `query`, `key`, `value`, `proj_attn`.
/// Source: diffusers attention_processor.py `Attention` with `_from_deprecated_attn_block`.
struct SpatialAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl SpatialAttention {
    fn new(b: &Builder, shape: &ResnetShape) -> Result<Self> {
        let channels = shape.outputs;
        let linear = |names: [&str; 2]| b.linear(b.either(&names), channels, channels, Bias::Yes);
        Ok(Self {
            group_norm: b.group_norm("group_norm", channels, shape.groups, shape.eps)?,
            to_q: linear(["to_q", "query"])?,
            to_k: linear(["to_k", "key"])?,
            to_v: linear(["to_v", "value"])?,
            to_out: linear(["to_out.0", "proj_attn"])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = (batch, height * width, channels);
        let normed = self.group_norm.forward(x, None)?.reshape(tokens)?;
        let (q, k, v) = (self.to_q.forward(&normed)?, self.to_k.forward(&normed)?, self.to_v.forward(&normed)?);
        let mixed = attention(&q, &k, &v, 1, (channels as f32).sqrt().recip(), Mask::None)?;
        let residual = x.reshape(tokens)?;
        let out = self.to_out.forward_with(&mixed, &Epilogue { residual: Some(&residual), ..Default::default() })?;
        Ok(out.reshape((batch, height, width, channels))?)
    }
}

/// Two resnets with an optional attention between them. Source: diffusers unet_2d_blocks.py `UNetMidBlock2D`.
pub(super) struct MidBlock {
    first: ResnetBlock,
    attention: Option<SpatialAttention>,
    second: ResnetBlock,
}

impl MidBlock {
    pub fn new(b: &Builder, shape: ResnetShape, with_attention: bool) -> Result<Self> {
        Ok(Self {
            first: ResnetBlock::new(&b.pp("resnets.0"), shape)?,
            attention: with_attention.then(|| SpatialAttention::new(&b.pp("attentions.0"), &shape)).transpose()?,
            second: ResnetBlock::new(&b.pp("resnets.1"), shape)?,
        })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.first.forward(x, None, None)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.second.forward(&x, None, None)
    }
}
