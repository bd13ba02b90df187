use super::config::ClipTransformerConfig;
use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Activation, Epilogue, Heads, LayerNorm, Linear, Mask};

/// What a checkpoint calls the parts of a layer.
pub(crate) struct LayerNames {
    pub norm1: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub out: &'static str,
    pub norm2: &'static str,
    pub inner: &'static str,
    pub outer: &'static str,
}

const CLIP: LayerNames = LayerNames {
    norm1: "layer_norm1",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    out: "self_attn.out_proj",
    norm2: "layer_norm2",
    inner: "mlp.fc1",
    outer: "mlp.fc2",
};

/// A transformer layer of CLIP, and of vision transformers like it. Source: transformers modeling_clip.py `CLIPEncoderLayer`.
pub(crate) struct ClipLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: Heads,
    activation: Activation,
}

impl ClipLayer {
    pub fn new(b: &Builder, config: &ClipTransformerConfig) -> Result<Self> {
        Self::named(b, config, &CLIP, Bias::Yes)
    }

    /// A layer under other names, whose query, key and value may have no bias.
    pub fn named(b: &Builder, config: &ClipTransformerConfig, names: &LayerNames, bias: Bias) -> Result<Self> {
        let ClipTransformerConfig { hidden_size: width, intermediate_size: inner, num_attention_heads: heads, layer_norm_eps: eps, .. } = *config;
        Ok(Self {
            layer_norm1: b.layer_norm(names.norm1, width, eps)?,
            q_proj: b.linear(names.query, width, width, bias)?,
            k_proj: b.linear(names.key, width, width, bias)?,
            v_proj: b.linear(names.value, width, width, bias)?,
            out_proj: b.linear(names.out, width, width, Bias::Yes)?,
            layer_norm2: b.layer_norm(names.norm2, width, eps)?,
            fc1: b.linear(names.inner, width, inner, Bias::Yes)?,
            fc2: b.linear(names.outer, inner, width, Bias::Yes)?,
            heads: b.heads(heads, width / heads),
            activation: config.hidden_act,
        })
    }

    /// x (B, L, C) -> (B, L, C).
    pub fn forward(&self, x: &Tensor, mask: Mask) -> Result<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let (q, k, v) = (self.q_proj.forward(&normed)?, self.k_proj.forward(&normed)?, self.v_proj.forward(&normed)?);
        let mixed = attention(&q, &k, &v, self.heads, mask)?;
        let x = self.out_proj.forward_with(&mixed, &Epilogue { residual: Some(x), ..Default::default() })?;
        let hidden = self.fc1.forward_with(&self.layer_norm2.forward(&x)?, &Epilogue { activation: Some(self.activation), ..Default::default() })?;
        Ok(self.fc2.forward_with(&hidden, &Epilogue { residual: Some(&x), ..Default::default() })?)
    }
}
