use super::attention::{Attention, AttentionShape};
use super::conditioning::Conditioning;
use super::k_resnet::AdaGroupNorm;
use super::kv_cache::Slots;
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::Tensor;

const EPS: f64 = 1e-5;

#[derive(Clone, Copy)]
pub(crate) struct KAttentionShape {
    pub channels: usize,
    pub head_width: usize,
    pub context_width: usize,
    pub time_width: usize,
    pub group_size: usize,
    pub with_self_attention: bool,
}

/// Attention of the K-blocks, without a feed-forward layer. Source: diffusers unet_2d_blocks.py `KAttentionBlock`.
pub(crate) struct KAttention {
    own: Option<(AdaGroupNorm, Attention)>,
    norm2: AdaGroupNorm,
    attn2: Attention,
}

impl KAttention {
    pub fn new(b: &Builder, shape: KAttentionShape, slots: &Slots) -> Result<Self> {
        let KAttentionShape { channels, head_width, context_width, time_width, group_size, with_self_attention } = shape;
        if head_width > channels {
            return Err(ModelError::config("attention_head_dim", format!("at most {channels}"), head_width));
        }
        let groups = (channels / group_size).max(1);
        let cross = AttentionShape { query_width: channels, context_width, heads: channels / head_width, head_width, bias: Bias::Yes };
        let own = |b: &Builder| -> Result<_> {
            let norm = AdaGroupNorm::new(&b.pp("norm1"), time_width, channels, groups, EPS)?;
            Ok((norm, Attention::self_attention(&b.pp("attn1"), AttentionShape { context_width: channels, ..cross })?))
        };
        Ok(Self {
            own: with_self_attention.then(|| own(b)).transpose()?,
            norm2: AdaGroupNorm::new(&b.pp("norm2"), time_width, channels, groups, EPS)?,
            attn2: Attention::normed_cross_attention(&b.pp("attn2"), cross, slots)?,
        })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, cond: &Conditioning) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = (batch, height * width, channels);
        let mut x = x.clone();
        if let Some((norm, attention)) = &self.own {
            let normed = norm.forward(&x, cond.time, None)?.reshape(tokens)?;
            x = attention.forward_self(&normed, &x.reshape(tokens)?)?.reshape((batch, height, width, channels))?;
        }
        let normed = self.norm2.forward(&x, cond.time, None)?.reshape(tokens)?;
        let out = self.attn2.forward_cross(&normed, cond, cond.context_bias, &x.reshape(tokens)?)?;
        Ok(out.reshape(((), height, width, channels))?)
    }
}
