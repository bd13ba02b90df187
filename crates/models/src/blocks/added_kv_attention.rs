use super::conditioning::Conditioning;
use super::kv_cache::Slots;
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Epilogue, GroupNorm, Heads, LayerNorm, Linear, Mask};

/// Groups of the norm over the prompt. Source: diffusers attention_processor.py `Attention`, `cross_attention_norm_num_groups`.
const CROSS_NORM_GROUPS: usize = 32;
const EPS: f64 = 1e-5;

/// Normalisation of the prompt before its projection (`cross_attention_norm`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum CrossNorm {
    None,
    Layer,
    Group,
}

#[derive(Clone, Copy)]
pub(crate) struct AddedKvShape {
    pub channels: usize,
    pub head_width: usize,
    pub context_width: usize,
    pub groups: usize,
    /// Without keys and values of the image itself.
    pub only_cross: bool,
    pub cross_norm: CrossNorm,
}

enum PromptNorm {
    Layer(LayerNorm),
    Group(GroupNorm),
}

/// One attention over prompt and image together, of the "simple" blocks. Source: diffusers attention_processor.py `AttnAddedKVProcessor2_0`.
pub(crate) struct AddedKvAttention {
    group_norm: GroupNorm,
    prompt_norm: Option<PromptNorm>,
    to_q: Linear,
    own: Option<(Linear, Linear)>,
    add_k_proj: Linear,
    add_v_proj: Linear,
    to_out: Linear,
    heads: Heads,
    slot: usize,
}

impl AddedKvAttention {
    pub fn new(b: &Builder, shape: AddedKvShape, slots: &Slots) -> Result<Self> {
        let AddedKvShape { channels, head_width, context_width, groups, .. } = shape;
        if head_width > channels {
            return Err(ModelError::config("attention_head_dim", format!("at most {channels}"), head_width));
        }
        let heads = channels / head_width;
        let inner = heads * head_width;
        let own = |b: &Builder| -> Result<_> { Ok((b.linear("to_k", channels, inner, Bias::Yes)?, b.linear("to_v", channels, inner, Bias::Yes)?)) };
        let prompt_norm = match shape.cross_norm {
            CrossNorm::None => None,
            CrossNorm::Layer => Some(PromptNorm::Layer(b.layer_norm("norm_cross", channels, EPS)?)),
            CrossNorm::Group => Some(PromptNorm::Group(b.group_norm("norm_cross", context_width, CROSS_NORM_GROUPS, EPS)?)),
        };
        Ok(Self {
            group_norm: b.group_norm("group_norm", channels, groups, EPS)?,
            prompt_norm,
            to_q: b.linear("to_q", channels, inner, Bias::Yes)?,
            own: (!shape.only_cross).then(|| own(b)).transpose()?,
            add_k_proj: b.linear("add_k_proj", context_width, inner, Bias::Yes)?,
            add_v_proj: b.linear("add_v_proj", context_width, inner, Bias::Yes)?,
            to_out: b.linear("to_out.0", inner, channels, Bias::Yes)?,
            heads: b.heads(heads, head_width),
            slot: slots.kv(),
        })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, cond: &Conditioning) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = (batch, height * width, channels);
        let normed = self.group_norm.forward(x, None)?.reshape(tokens)?;
        let (mut k, mut v) = cond.kv.get(self.slot, || self.prompt_keys_and_values(cond.context))?;
        let mut bias = cond.context_bias.cloned();
        if let Some((to_k, to_v)) = &self.own {
            k = Tensor::cat(&[&k, &cond.all(&to_k.forward(&normed)?)?], 1)?;
            v = Tensor::cat(&[&v, &cond.all(&to_v.forward(&normed)?)?], 1)?;
            bias = bias.map(|bias| bias.pad_with_zeros(3, 0, height * width)).transpose()?;
        }
        let q = cond.all(&self.to_q.forward(&normed)?)?;
        let mixed = attention(&q, &k, &v, self.heads, bias.as_ref().map_or(Mask::None, Mask::Bias))?;
        let residual = cond.all(&x.reshape(tokens)?)?;
        let out = self.to_out.forward_with(&mixed, &Epilogue { residual: Some(&residual), ..Default::default() })?;
        Ok(out.reshape(((), height, width, channels))?)
    }

    fn prompt_keys_and_values(&self, context: &Tensor) -> Result<(Tensor, Tensor)> {
        let normed = match &self.prompt_norm {
            None => context.clone(),
            Some(PromptNorm::Layer(norm)) => norm.forward(context)?,
            Some(PromptNorm::Group(norm)) => norm.forward(&context.unsqueeze(1)?, None)?.squeeze(1)?,
        };
        Ok((self.add_k_proj.forward(&normed)?, self.add_v_proj.forward(&normed)?))
    }
}
