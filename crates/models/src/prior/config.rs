use crate::clip::ClipTransformerConfig;
use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use nd_kernels::Activation;
use serde_json::{json, Value};

/// Tokens after those of the text: text embedding, timestep, image embedding, and the learned one that is read.
pub(super) const ADDED_TOKENS: usize = 4;

/// The `config.json` of a PriorTransformer; fields bear the keys' names. Source: diffusers prior_transformer.py `PriorTransformer.__init__`.
#[derive(Clone, Debug)]
pub struct PriorConfig {
    /// Width of text states and image embeddings.
    pub embedding_dim: usize,
    /// Tokens of the text.
    pub num_embeddings: usize,
    pub num_attention_heads: usize,
    pub attention_head_dim: usize,
    pub num_layers: usize,
    /// Width inside the embedding of the timestep.
    pub time_embed_dim: usize,
    /// Width of the text embedding.
    pub embedding_proj_dim: usize,
    /// Width of the predicted image embedding.
    pub clip_embed_dim: usize,
    pub file: ConfigFile,
}

impl PriorConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let embedding_dim = r.int("embedding_dim", 768, WIDTHS)?;
        let num_attention_heads = r.int("num_attention_heads", 32, WIDTHS)?;
        let attention_head_dim = r.int("attention_head_dim", 64, WIDTHS)?;
        let inner = num_attention_heads * attention_head_dim;
        if !WIDTHS.contains(&inner) {
            return Err(ModelError::config("attention_head_dim", format!("at most {} channels in all heads", WIDTHS.end()), inner));
        }
        // Shap-E's prior has other tokens.
        r.only("additional_embeddings", json!(ADDED_TOKENS), &[json!(ADDED_TOKENS)])?;
        r.only("time_embed_act_fn", json!("silu"), &[json!("silu")])?;
        r.only("norm_in_type", Value::Null, &[Value::Null])?;
        r.only("embedding_proj_norm_type", Value::Null, &[Value::Null])?;
        r.only("encoder_hid_proj_type", json!("linear"), &[json!("linear")])?;
        r.only("added_emb_type", json!("prd"), &[json!("prd")])?;
        r.ignore(&["dropout"]);
        let config = Self {
            num_embeddings: r.int("num_embeddings", 77, 1..=10_000)?,
            num_layers: r.int("num_layers", 20, DEPTHS)?,
            time_embed_dim: r.opt_int("time_embed_dim", WIDTHS)?.unwrap_or(inner),
            embedding_proj_dim: r.opt_int("embedding_proj_dim", WIDTHS)?.unwrap_or(embedding_dim),
            clip_embed_dim: r.opt_int("clip_embed_dim", WIDTHS)?.unwrap_or(embedding_dim),
            embedding_dim,
            num_attention_heads,
            attention_head_dim,
            file: ConfigFile::default(),
        };
        Ok(Self { file: r.finish(), ..config })
    }

    /// Width of the tokens.
    pub(super) fn inner(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// The transformer's layers, which are those of CLIP under other names.
    pub(super) fn layers(&self) -> ClipTransformerConfig {
        ClipTransformerConfig {
            hidden_size: self.inner(),
            intermediate_size: 4 * self.inner(),
            num_hidden_layers: self.num_layers,
            num_attention_heads: self.num_attention_heads,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_empty_config_has_the_python_defaults() {
        let config = PriorConfig::from_json(&json!({})).unwrap();
        assert_eq!((config.inner(), config.num_layers, config.clip_embed_dim, config.time_embed_dim), (2048, 20, 768, 2048));
    }

    #[test]
    fn other_priors_are_refused_by_key_and_value() {
        let error = PriorConfig::from_json(&json!({"added_emb_type": null})).unwrap_err();
        assert_eq!(error.to_string(), "Expected \"prd\" for added_emb_type but received null");
    }
}
