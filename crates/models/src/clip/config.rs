use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use nd_kernels::Activation;
use serde_json::Value;

/// Sizes that CLIP's text and vision transformers share.
#[derive(Clone, Debug)]
pub struct ClipTransformerConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub(crate) hidden_act: Activation,
    pub layer_norm_eps: f64,
}

impl ClipTransformerConfig {
    fn read(r: &mut ConfigReader, defaults: [usize; 4]) -> Result<Self> {
        let [hidden, intermediate, layers, heads] = defaults;
        let config = Self {
            hidden_size: r.int("hidden_size", hidden, WIDTHS)?,
            intermediate_size: r.int("intermediate_size", intermediate, WIDTHS)?,
            num_hidden_layers: r.int("num_hidden_layers", layers, DEPTHS)?,
            num_attention_heads: r.int("num_attention_heads", heads, WIDTHS)?,
            hidden_act: hidden_act(&r.string("hidden_act", "quick_gelu")?)?,
            layer_norm_eps: r.positive("layer_norm_eps", 1e-5)?,
        };
        r.ignore(&TRAINING_KEYS);
        if config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Ok(config);
        }
        Err(ModelError::config("num_attention_heads", format!("a divisor of hidden_size {}", config.hidden_size), config.num_attention_heads))
    }
}

/// Keys of transformers configs without effect on these models.
const TRAINING_KEYS: [&str; 12] = [
    "architectures",
    "attention_dropout",
    "dropout",
    "dtype",
    "initializer_factor",
    "initializer_range",
    "model_type",
    "torch_dtype",
    "transformers_version",
    "return_dict",
    "output_hidden_states",
    "output_attentions",
];

pub(crate) fn hidden_act(name: &str) -> Result<Activation> {
    match name {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        _ => Err(ModelError::config("hidden_act", "quick_gelu, gelu, gelu_new, gelu_pytorch_tanh, relu or silu", name)),
    }
}

/// The `config.json` of a CLIP text encoder. Source: transformers configuration_clip.py `CLIPTextConfig`.
#[derive(Clone, Debug)]
pub struct ClipTextConfig {
    pub transformer: ClipTransformerConfig,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub projection_dim: usize,
    /// 2 is the legacy value that means: pool at the largest token id.
    pub eos_token_id: i64,
    pub file: ConfigFile,
}

impl ClipTextConfig {
    /// Reads a config, also the `text_config` of a whole CLIP model. Errors: `ModelError::Config` naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json.get("text_config").filter(|v| v.is_object()).unwrap_or(json))?;
        let eos = r.raw("eos_token_id", 49407.into());
        let config = Self {
            transformer: ClipTransformerConfig::read(&mut r, [512, 2048, 12, 8])?,
            vocab_size: r.int("vocab_size", 49408, 1..=10_000_000)?,
            max_position_embeddings: r.int("max_position_embeddings", 77, WIDTHS)?,
            projection_dim: r.int("projection_dim", 512, WIDTHS)?,
            eos_token_id: eos.as_i64().ok_or_else(|| ModelError::config("eos_token_id", "a whole number", &eos))?,
            file: ConfigFile::default(),
        };
        r.ignore(&["bos_token_id", "pad_token_id"]);
        Ok(Self { file: r.finish(), ..config })
    }
}

/// The `config.json` of a CLIP image encoder. Source: transformers configuration_clip.py `CLIPVisionConfig`.
#[derive(Clone, Debug)]
pub struct ClipVisionConfig {
    pub transformer: ClipTransformerConfig,
    pub image_size: usize,
    pub patch_size: usize,
    pub num_channels: usize,
    pub projection_dim: usize,
    pub file: ConfigFile,
}

impl ClipVisionConfig {
    /// Reads a config, also the `vision_config` of a whole CLIP model. Errors: `ModelError::Config` naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json.get("vision_config").filter(|v| v.is_object()).unwrap_or(json))?;
        let config = Self {
            transformer: ClipTransformerConfig::read(&mut r, [768, 3072, 12, 12])?,
            image_size: r.int("image_size", 224, 1..=8192)?,
            patch_size: r.int("patch_size", 32, 1..=8192)?,
            num_channels: r.int("num_channels", 3, WIDTHS)?,
            projection_dim: r.int("projection_dim", 512, WIDTHS)?,
            file: ConfigFile::default(),
        };
        if config.patch_size > config.image_size {
            return Err(ModelError::config("patch_size", format!("at most image_size {}", config.image_size), config.patch_size));
        }
        Ok(Self { file: r.finish(), ..config })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_config_has_the_python_defaults() {
        let text = ClipTextConfig::from_json(&json!({})).unwrap();
        assert_eq!((text.vocab_size, text.eos_token_id, text.transformer.num_hidden_layers), (49408, 49407, 12));
        let vision = ClipVisionConfig::from_json(&json!({})).unwrap();
        assert_eq!((vision.transformer.hidden_size, vision.patch_size), (768, 32));
    }

    #[test]
    fn unknown_keys_are_collected_and_bad_values_named() {
        let config = ClipTextConfig::from_json(&json!({"flavour": 1, "bos_token_id": 0})).unwrap();
        assert_eq!(config.file.unknown, ["flavour"]);
        let error = ClipTextConfig::from_json(&json!({"hidden_act": "tanh"})).unwrap_err();
        assert!(error.to_string().ends_with("for hidden_act but received tanh"));
        assert!(ClipTextConfig::from_json(&json!({"num_attention_heads": 7})).is_err());
    }
}
