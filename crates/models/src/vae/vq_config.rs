use super::coder::CoderShape;
use super::config::sample_size;
use super::norm::NormKind;
use crate::blocks::activation_name::activation_name;
use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use nd_kernels::Activation;
use serde_json::{json, Value};

/// The `config.json` of a VQModel; fields bear the keys' names. Source: diffusers vq_model.py `VQModel.__init__`.
#[derive(Clone, Debug)]
pub struct VqConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    /// Which blocks of the encoder have attentions.
    down_attention: Vec<bool>,
    /// Which blocks of the decoder have attentions, smallest picture first.
    up_attention: Vec<bool>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub(crate) act_fn: Activation,
    pub latent_channels: usize,
    pub sample_size: usize,
    pub num_vq_embeddings: usize,
    pub norm_num_groups: usize,
    /// Width of the codebook's vectors, which are the latents that come out and go in.
    pub vq_embed_dim: usize,
    pub scaling_factor: f64,
    /// Of the decoder.
    norm: NormKind,
    pub mid_block_add_attention: bool,
    pub file: ConfigFile,
}

impl VqConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let block_out_channels = r.ints("block_out_channels", &[64], WIDTHS)?;
        let latent_channels = r.int("latent_channels", 3, WIDTHS)?;
        let vq_embed_dim = r.opt_int("vq_embed_dim", WIDTHS)?.unwrap_or(latent_channels);
        let norm = match r.string("norm_type", "group")?.as_str() {
            "group" => NormKind::Group,
            "spatial" if vq_embed_dim == latent_channels => NormKind::Spatial(latent_channels),
            "spatial" => {
                return Err(ModelError::config("vq_embed_dim", format!("{latent_channels} as latent_channels, for norm_type spatial,"), vq_embed_dim))
            }
            other => return Err(ModelError::config("norm_type", "group or spatial", other)),
        };
        r.only("lookup_from_codebook", json!(false), &[json!(false)])?;
        r.ignore(&["force_upcast"]);
        let blocks = block_out_channels.len();
        let config = Self {
            in_channels: r.int("in_channels", 3, WIDTHS)?,
            out_channels: r.int("out_channels", 3, WIDTHS)?,
            down_attention: attention(&mut r, ("down_block_types", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"), blocks)?,
            up_attention: attention(&mut r, ("up_block_types", "UpDecoderBlock2D", "AttnUpDecoderBlock2D"), blocks)?,
            block_out_channels,
            layers_per_block: r.int("layers_per_block", 1, DEPTHS)?,
            act_fn: activation_name("act_fn", &r.string("act_fn", "silu")?)?,
            latent_channels,
            sample_size: sample_size(&mut r)?,
            num_vq_embeddings: r.int("num_vq_embeddings", 256, 1..=10_000_000)?,
            norm_num_groups: r.int("norm_num_groups", 32, WIDTHS)?,
            vq_embed_dim,
            scaling_factor: r.positive("scaling_factor", 0.18215)?,
            norm,
            mid_block_add_attention: r.bool("mid_block_add_attention", true)?,
            file: ConfigFile::default(),
        };
        Ok(Self { file: r.finish(), ..config })
    }

    /// Pixels per latent, in each direction.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1).min(30)
    }

    pub(super) fn encoder(&self) -> CoderShape {
        CoderShape {
            inputs: self.in_channels,
            outputs: self.latent_channels,
            channels: self.block_out_channels.clone(),
            attention: self.down_attention.clone(),
            layers: self.layers_per_block,
            groups: self.norm_num_groups,
            activation: self.act_fn,
            norm: NormKind::Group,
            mid_attention: self.mid_block_add_attention,
        }
    }

    pub(super) fn decoder(&self) -> CoderShape {
        CoderShape {
            inputs: self.latent_channels,
            outputs: self.out_channels,
            attention: self.up_attention.clone(),
            norm: self.norm,
            ..self.encoder()
        }
    }

    /// Whether the decoder's norms read the latents.
    pub(super) fn is_spatial(&self) -> bool {
        self.norm != NormKind::Group
    }
}

/// Which of the block types of a key have attentions.
fn attention(r: &mut ConfigReader, (key, plain, with): (&str, &str, &str), blocks: usize) -> Result<Vec<bool>> {
    let types = r.strings(key, &[plain])?;
    if types.len() != blocks {
        return Err(ModelError::config(key, format!("a list of {blocks}, as many as block_out_channels"), format!("{} items", types.len())));
    }
    let known = |name: &String| match name.as_str() {
        name if name == plain => Ok(false),
        name if name == with => Ok(true),
        other => Err(ModelError::config(key, format!("{plain} or {with}"), other)),
    };
    types.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_empty_config_has_the_python_defaults() {
        let config = VqConfig::from_json(&json!({})).unwrap();
        assert_eq!((config.latent_channels, config.vq_embed_dim, config.num_vq_embeddings, config.factor()), (3, 3, 256, 1));
        assert!(!config.is_spatial());
    }

    #[test]
    fn unsupported_values_name_key_and_value() {
        for (json, text) in [
            (json!({"up_block_types": ["FancyBlock"]}), "UpDecoderBlock2D or AttnUpDecoderBlock2D for up_block_types but received FancyBlock"),
            (json!({"norm_type": "ada"}), "group or spatial for norm_type but received ada"),
            (json!({"norm_type": "spatial", "vq_embed_dim": 8}), "vq_embed_dim but received 8"),
            (json!({"lookup_from_codebook": true}), "lookup_from_codebook"),
        ] {
            let error = VqConfig::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
