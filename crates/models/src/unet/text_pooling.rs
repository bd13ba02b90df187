use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{attention, Heads, LayerNorm, Linear, Mask};

/// The prompt pooled by attention from its mean. Source: diffusers embeddings.py `TextTimeEmbedding`, `AttentionPooling`.
pub(crate) struct TextPooling {
    norm1: LayerNorm,
    positional_embedding: Tensor,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    proj: Linear,
    norm2: LayerNorm,
    heads: Heads,
}

impl TextPooling {
    pub fn new(b: &Builder, width: usize, outputs: usize, heads: usize) -> Result<Self> {
        if !width.is_multiple_of(heads) {
            return Err(ModelError::config("addition_embed_type_num_heads", format!("a divisor of {width}"), heads));
        }
        let pool = b.pp("pool");
        Ok(Self {
            norm1: b.layer_norm("norm1", width, 1e-5)?,
            positional_embedding: pool.tensor_f32("positional_embedding", &[1, width])?,
            q_proj: pool.linear("q_proj", width, width, Bias::Yes)?,
            k_proj: pool.linear("k_proj", width, width, Bias::Yes)?,
            v_proj: pool.linear("v_proj", width, width, Bias::Yes)?,
            proj: b.linear("proj", width, outputs, Bias::Yes)?,
            norm2: b.layer_norm("norm2", outputs, 1e-5)?,
            heads: b.heads(heads, width / heads),
        })
    }

    /// prompt (B, S, width) -> (B, outputs).
    pub fn forward(&self, prompt: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(&prompt.contiguous()?)?;
        let mean = normed.mean_keepdim(1)?.broadcast_add(&self.positional_embedding)?;
        let all = Tensor::cat(&[&mean, &normed], 1)?;
        let (q, k, v) = (self.q_proj.forward(&mean)?, self.k_proj.forward(&all)?, self.v_proj.forward(&all)?);
        let pooled = attention(&q, &k, &v, self.heads, Mask::None)?.squeeze(1)?;
        Ok(self.norm2.forward(&self.proj.forward(&pooled)?)?)
    }
}
