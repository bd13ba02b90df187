use super::bit::BitConfig;
use crate::clip::ClipTransformerConfig;
use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use serde_json::{json, Value};

/// What the class token does to the other tokens (`readout_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Readout {
    Ignore,
    Add,
    Project,
}

/// The change of size of one feature map (`reassemble_factors`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Factor {
    Up(usize),
    Keep,
    Down(usize),
}

/// The `config.json` of a DPT model with a vision transformer, or with a BiT network before one (hybrid). Source: transformers configuration_dpt.py `DPTConfig`.
#[derive(Clone, Debug)]
pub struct DptConfig {
    pub transformer: ClipTransformerConfig,
    pub image_size: usize,
    pub patch_size: usize,
    pub num_channels: usize,
    /// The network that makes the first maps and the tokens of hybrid models.
    pub backbone: Option<BitConfig>,
    pub qkv_bias: bool,
    /// Layers whose outputs become feature maps, ascending.
    pub backbone_out_indices: Vec<usize>,
    pub readout: Readout,
    pub(super) factors: Vec<Factor>,
    pub neck_hidden_sizes: Vec<usize>,
    pub fusion_hidden_size: usize,
    pub fusion_bias: bool,
    pub file: ConfigFile,
}

impl DptConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported (other backbones) or out of range.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let is_hybrid = r.bool("is_hybrid", false)?;
        let backbone = r.raw("backbone_config", Value::Null);
        if !is_hybrid && !backbone.is_null() {
            return Err(ModelError::config("backbone_config", "null where is_hybrid is false", backbone));
        }
        r.only("use_batch_norm_in_fusion_residual", json!(false), &[json!(false), Value::Null])?;
        r.only("add_projection", json!(false), &[json!(false)])?;
        r.only("head_in_index", json!(-1), &[json!(-1)])?;
        let transformer = ClipTransformerConfig {
            hidden_size: r.int("hidden_size", 768, WIDTHS)?,
            intermediate_size: r.int("intermediate_size", 3072, WIDTHS)?,
            num_hidden_layers: r.int("num_hidden_layers", 12, DEPTHS)?,
            num_attention_heads: r.int("num_attention_heads", 12, WIDTHS)?,
            hidden_act: crate::clip::hidden_act(&r.string("hidden_act", "gelu")?)?,
            layer_norm_eps: r.positive("layer_norm_eps", 1e-12)?,
        };
        let factors = r.raw("reassemble_factors", json!([4, 2, 1, 0.5]));
        let config = Self {
            image_size: r.int("image_size", 384, 1..=8192)?,
            patch_size: r.int("patch_size", 16, 1..=1024)?,
            num_channels: r.int("num_channels", 3, WIDTHS)?,
            backbone: is_hybrid.then(|| BitConfig::from_json(&backbone)).transpose()?,
            qkv_bias: r.bool("qkv_bias", true)?,
            backbone_out_indices: r.ints("backbone_out_indices", &[2, 5, 8, 11], 0..=*DEPTHS.end())?,
            readout: readout(&r.string("readout_type", "project")?)?,
            factors: factors.as_array().map_or(Ok(Vec::new()), |list| list.iter().map(factor).collect())?,
            neck_hidden_sizes: r.ints("neck_hidden_sizes", &[96, 192, 384, 768], WIDTHS)?,
            fusion_hidden_size: r.int("fusion_hidden_size", 256, 2..=*WIDTHS.end())?,
            fusion_bias: r.opt_bool("use_bias_in_fusion_residual")?.unwrap_or(true),
            transformer,
            file: ConfigFile::default(),
        };
        let ignored = r.raw("neck_ignore_stages", if is_hybrid { json!([0, 1]) } else { json!([]) });
        if is_hybrid && ignored != json!([0, 1]) {
            return Err(ModelError::config("neck_ignore_stages", "[0, 1]", ignored));
        }
        r.ignore(&IGNORED);
        config.check()?;
        Ok(Self { file: r.finish(), ..config })
    }

    fn check(&self) -> Result<()> {
        let ClipTransformerConfig { hidden_size, num_attention_heads, num_hidden_layers, .. } = self.transformer;
        if !hidden_size.is_multiple_of(num_attention_heads) {
            return Err(ModelError::config("num_attention_heads", format!("a divisor of hidden_size {hidden_size}"), num_attention_heads));
        }
        let maps = self.neck_hidden_sizes.len();
        if self.factors.len() != maps {
            return Err(ModelError::config("reassemble_factors", format!("{maps} numbers, as neck_hidden_sizes has"), self.factors.len()));
        }
        let indices = &self.backbone_out_indices;
        if indices.len() != maps || !indices.is_sorted_by(|a, b| a < b) || indices.iter().any(|&index| index >= num_hidden_layers) {
            let expected = format!("{maps} ascending numbers below num_hidden_layers {num_hidden_layers}");
            return Err(ModelError::config("backbone_out_indices", expected, format!("{indices:?}")));
        }
        if let Some(backbone) = &self.backbone {
            self.check_hybrid(backbone)?;
        }
        if self.patch_size > self.image_size {
            return Err(ModelError::config("patch_size", format!("at most image_size {}", self.image_size), self.patch_size));
        }
        Ok(())
    }

    fn check_hybrid(&self, backbone: &BitConfig) -> Result<()> {
        if self.readout != Readout::Project {
            return Err(ModelError::config("readout_type", "project in a hybrid model", format!("{:?}", self.readout)));
        }
        if self.patch_size != 16 {
            return Err(ModelError::config("patch_size", "16, by which the backbone shrinks the picture,", self.patch_size));
        }
        if self.neck_hidden_sizes.len() < 3 || self.neck_hidden_sizes[..2] != backbone.hidden_sizes[..2] {
            let expected = format!("{:?} first, as the backbone gives,", &backbone.hidden_sizes[..2]);
            return Err(ModelError::config("neck_hidden_sizes", expected, format!("{:?}", self.neck_hidden_sizes)));
        }
        Ok(())
    }
}

/// Keys of training and of segmentation, without effect on depth.
const IGNORED: [&str; 18] = [
    "architectures",
    "attention_probs_dropout_prob",
    "auxiliary_loss_weight",
    "backbone",
    "backbone_featmap_shape",
    "backbone_kwargs",
    "dtype",
    "hidden_dropout_prob",
    "initializer_range",
    "model_type",
    "pooler_act",
    "pooler_output_size",
    "semantic_classifier_dropout",
    "semantic_loss_ignore_index",
    "torch_dtype",
    "transformers_version",
    "use_auxiliary_head",
    "use_pretrained_backbone",
];

fn readout(name: &str) -> Result<Readout> {
    match name {
        "ignore" => Ok(Readout::Ignore),
        "add" => Ok(Readout::Add),
        "project" => Ok(Readout::Project),
        _ => Err(ModelError::config("readout_type", "ignore, add or project", name)),
    }
}

fn factor(value: &Value) -> Result<Factor> {
    match value.as_f64() {
        Some(1.0) => Ok(Factor::Keep),
        Some(f) if f > 1.0 && f.fract() == 0.0 && f <= 16.0 => Ok(Factor::Up(f as usize)),
        Some(f) if (1.0 / 16.0..1.0).contains(&f) => Ok(Factor::Down((1.0 / f) as usize)),
        _ => Err(ModelError::config("reassemble_factors", "whole numbers up to 16 or fractions above 1/16", value)),
    }
}
