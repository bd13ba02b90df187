use super::config::ClipTransformerConfig;
use crate::error::Result;
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Activation, Epilogue, LayerNorm, Linear, Mask};

/// A transformer layer of CLIP. Source: transformers modeling_clip.py `CLIPEncoderLayer`.
pub(super) struct ClipLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    scale: f32,
    activation: Activation,
}

impl ClipLayer {
    pub fn new(b: &Builder, config: &ClipTransformerConfig) -> Result<Self> {
        let ClipTransformerConfig { hidden_size: width, intermediate_size: inner, num_attention_heads: heads, layer_norm_eps: eps, .. } = *config;
        let attn = b.pp("self_attn");
        Ok(Self {
            layer_norm1: b.layer_norm("layer_norm1", width, eps)?,
            q_proj: attn.linear("q_proj", width, width, Bias::Yes)?,
            k_proj: attn.linear("k_proj", width, width, Bias::Yes)?,
            v_proj: attn.linear("v_proj", width, width, Bias::Yes)?,
            out_proj: attn.linear("out_proj", width, width, Bias::Yes)?,
            layer_norm2: b.layer_norm("layer_norm2", width, eps)?,
            fc1: b.linear("mlp.fc1", width, inner, Bias::Yes)?,
            fc2: b.linear("mlp.fc2", inner, width, Bias::Yes)?,
            heads,
            scale: ((width / heads) as f32).sqrt().recip(),
            activation: config.hidden_act,
        })
    }

    /// x (B, L, C) -> (B, L, C).
    pub fn forward(&self, x: &Tensor, mask: Mask) -> Result<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let (q, k, v) = (self.q_proj.forward(&normed)?, self.k_proj.forward(&normed)?, self.v_proj.forward(&normed)?);
        let mixed = attention(&q, &k, &v, self.heads, self.scale, mask)?;
        let x = self.out_proj.forward_with(&mixed, &Epilogue { residual: Some(x), ..Default::default() })?;
        let hidden = self.fc1.forward_with(&self.layer_norm2.forward(&x)?, &Epilogue { activation: Some(self.activation), ..Default::default() })?;
        Ok(self.fc2.forward_with(&hidden, &Epilogue { residual: Some(&x), ..Default::default() })?)
    }
}
