use super::conditioning::Conditioning;
use super::kv_cache::Slots;
use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Epilogue, Heads, LayerNorm, Linear, Mask};

/// Sizes of an attention layer.
#[derive(Clone, Copy)]
pub(crate) struct AttentionShape {
    /// Width of the tokens that ask, and of the output.
    pub query_width: usize,
    /// Width of the tokens that answer.
    pub context_width: usize,
    pub heads: usize,
    pub head_width: usize,
    /// Whether q, k and v have a bias; the output projection always has.
    pub bias: Bias,
}

/// Multi-head attention with separate projections. Source: diffusers attention_processor.py `Attention`, `AttnProcessor2_0`.
pub(crate) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_cross: Option<LayerNorm>,
    heads: Heads,
    /// Where keys and values of the prompt are kept.
    slot: Option<usize>,
    /// Position among the layers that image prompts attach to.
    image_layer: Option<usize>,
    /// Position among the layers over the image itself.
    own_layer: Option<usize>,
}

impl Attention {
    /// Attention of tokens among themselves; `context_width` is `query_width`.
    pub fn self_attention(b: &Builder, shape: AttentionShape) -> Result<Self> {
        Self::build(b, shape, None)
    }

    /// As `self_attention`, for a layer that a call may perturb.
    pub fn image_self_attention(b: &Builder, shape: AttentionShape, slots: &Slots) -> Result<Self> {
        Ok(Self { own_layer: Some(slots.own(b.name())), ..Self::self_attention(b, shape)? })
    }

    /// Attention to the prompt.
    pub fn cross_attention(b: &Builder, shape: AttentionShape, slots: &Slots) -> Result<Self> {
        Self::build(b, shape, Some(slots.kv()))
    }

    /// Attention to the prompt, and to image prompts where a call has them.
    pub fn image_cross_attention(b: &Builder, shape: AttentionShape, slots: &Slots) -> Result<Self> {
        Ok(Self { image_layer: Some(slots.image(b.name())), ..Self::cross_attention(b, shape, slots)? })
    }

    /// Attention to the prompt after a LayerNorm over it.
    pub fn normed_cross_attention(b: &Builder, shape: AttentionShape, slots: &Slots) -> Result<Self> {
        let norm_cross = Some(b.layer_norm("norm_cross", shape.context_width, 1e-5)?);
        Ok(Self { norm_cross, ..Self::cross_attention(b, shape, slots)? })
    }

    fn build(b: &Builder, shape: AttentionShape, slot: Option<usize>) -> Result<Self> {
        let AttentionShape { query_width, context_width, heads, head_width, bias } = shape;
        let inner = heads * head_width;
        // A prompt has few tokens with a few very large channels, which bytes would round away the others for.
        let own = if slot.is_some() { b.in_floats() } else { b.clone() };
        Ok(Self {
            to_q: b.linear("to_q", query_width, inner, bias)?,
            to_k: own.linear("to_k", context_width, inner, bias)?,
            to_v: own.linear("to_v", context_width, inner, bias)?,
            to_out: b.linear("to_out.0", inner, query_width, Bias::Yes)?,
            norm_cross: None,
            heads: b.heads(heads, head_width),
            slot,
            image_layer: None,
            own_layer: None,
        })
    }

    /// x (B, L, C) among itself, plus the residual.
    pub fn forward_self(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.finish(&self.mix(x, &self.to_v.forward(x)?)?, residual)
    }

    /// As `forward_self`; the samples that the call perturbs here look at nothing but themselves.
    pub fn forward_image(&self, x: &Tensor, cond: &Conditioning, residual: &Tensor) -> Result<Tensor> {
        match self.own_layer.map_or(0, |layer| cond.perturbed_samples(layer)) {
            0 => self.forward_self(x, residual),
            perturbed => self.forward_perturbed(&cond.all(x)?, perturbed, &cond.all(residual)?),
        }
    }

    fn forward_perturbed(&self, x: &Tensor, perturbed: usize, residual: &Tensor) -> Result<Tensor> {
        let v = self.to_v.forward(x)?;
        let mixed = match x.dim(0)?.saturating_sub(perturbed) {
            0 => v,
            plain => {
                let first = self.mix(&x.narrow(0, 0, plain)?.contiguous()?, &v.narrow(0, 0, plain)?.contiguous()?)?;
                Tensor::cat(&[&first, &v.narrow(0, plain, perturbed)?], 0)?
            }
        };
        self.finish(&mixed, residual)
    }

    fn mix(&self, x: &Tensor, v: &Tensor) -> Result<Tensor> {
        Ok(attention(&self.to_q.forward(x)?, &self.to_k.forward(x)?, v, self.heads, Mask::None)?)
    }

    /// x (B, L, C) to the prompt, plus the residual.
    pub fn forward_cross(&self, x: &Tensor, cond: &Conditioning, bias: Option<&Tensor>, residual: &Tensor) -> Result<Tensor> {
        let compute = || self.keys_and_values(cond.context);
        let (k, v) = match self.slot {
            Some(slot) => cond.kv.get(slot, compute)?,
            None => compute()?,
        };
        let q = cond.all(&self.to_q.forward(x)?)?;
        let mut mixed = attention(&q, &k, &v, self.heads, bias.map_or(Mask::None, Mask::Bias))?;
        if let Some(layer) = self.image_layer {
            for prompt in cond.image_prompts {
                if let Some(image) = prompt.attend(&q, layer, self.heads)? {
                    mixed = (mixed + image)?;
                }
            }
        }
        self.finish(&mixed, &cond.all(residual)?)
    }

    fn keys_and_values(&self, context: &Tensor) -> Result<(Tensor, Tensor)> {
        let normed = self.norm_cross.as_ref().map(|norm| norm.forward(context)).transpose()?;
        let context = normed.as_ref().unwrap_or(context);
        Ok((self.to_k.forward(context)?, self.to_v.forward(context)?))
    }

    fn finish(&self, mixed: &Tensor, residual: &Tensor) -> Result<Tensor> {
        Ok(self.to_out.forward_with(mixed, &Epilogue { residual: Some(residual), ..Default::default() })?)
    }
}
