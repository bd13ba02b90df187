use super::coder::CoderShape;
use super::norm::NormKind;
use crate::blocks::activation_name::activation_name;
use crate::config::{as_int, ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use nd_kernels::Activation;
use serde_json::Value;

/// The `config.json` of an AutoencoderKL; fields bear the keys' names. Source: diffusers autoencoder_kl.py `AutoencoderKL.__init__`.
#[derive(Clone, Debug)]
pub struct VaeConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub(crate) act_fn: Activation,
    pub latent_channels: usize,
    pub norm_num_groups: usize,
    /// Side of the images of training, in pixels; the size of tiles.
    pub sample_size: usize,
    /// Latents times this are what the UNet sees; not applied by the model itself.
    pub scaling_factor: f64,
    pub shift_factor: Option<f64>,
    pub force_upcast: bool,
    pub use_quant_conv: bool,
    pub use_post_quant_conv: bool,
    pub mid_block_add_attention: bool,
    pub file: ConfigFile,
}

impl VaeConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let block_out_channels = r.ints("block_out_channels", &[64], WIDTHS)?;
        for (key, supported) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
            let types = r.strings(key, &[supported])?;
            if let Some(other) = types.iter().find(|t| *t != supported) {
                return Err(ModelError::config(key, supported, other));
            }
            if types.len() != block_out_channels.len() {
                return Err(ModelError::config(
                    key,
                    format!("a list of {}, as many as block_out_channels", block_out_channels.len()),
                    format!("{} items", types.len()),
                ));
            }
        }
        r.ignore(&["latents_mean", "latents_std"]);
        let config = Self {
            in_channels: r.int("in_channels", 3, WIDTHS)?,
            out_channels: r.int("out_channels", 3, WIDTHS)?,
            layers_per_block: r.int("layers_per_block", 1, DEPTHS)?,
            act_fn: activation_name("act_fn", &r.string("act_fn", "silu")?)?,
            latent_channels: r.int("latent_channels", 4, WIDTHS)?,
            norm_num_groups: r.int("norm_num_groups", 32, WIDTHS)?,
            sample_size: sample_size(&mut r)?,
            scaling_factor: r.positive("scaling_factor", 0.18215)?,
            shift_factor: r.opt_float("shift_factor")?,
            force_upcast: r.bool("force_upcast", true)?,
            use_quant_conv: r.bool("use_quant_conv", true)?,
            use_post_quant_conv: r.bool("use_post_quant_conv", true)?,
            mid_block_add_attention: r.bool("mid_block_add_attention", true)?,
            block_out_channels,
            file: ConfigFile::default(),
        };
        Ok(Self { file: r.finish(), ..config })
    }

    pub(super) fn encoder(&self) -> CoderShape {
        CoderShape { inputs: self.in_channels, outputs: 2 * self.latent_channels, ..self.decoder() }
    }

    pub(super) fn decoder(&self) -> CoderShape {
        CoderShape {
            inputs: self.latent_channels,
            outputs: self.out_channels,
            channels: self.block_out_channels.clone(),
            attention: vec![false; self.block_out_channels.len()],
            layers: self.layers_per_block,
            groups: self.norm_num_groups,
            activation: self.act_fn,
            norm: NormKind::Group,
            mid_attention: self.mid_block_add_attention,
        }
    }

    /// Pixels per latent, in each direction.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1).min(30)
    }
}

pub(super) fn sample_size(r: &mut ConfigReader) -> Result<usize> {
    let value = r.raw("sample_size", 32.into());
    let first = value.as_array().and_then(|items| items.first()).unwrap_or(&value);
    as_int("sample_size", first, &(1..=1_000_000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_config_has_the_python_defaults() {
        let config = VaeConfig::from_json(&json!({})).unwrap();
        assert_eq!((config.scaling_factor, config.force_upcast, config.norm_num_groups), (0.18215, true, 32));
    }

    #[test]
    fn unsupported_blocks_are_refused() {
        let error = VaeConfig::from_json(&json!({"up_block_types": ["AttnUpDecoderBlock2D"]})).unwrap_err();
        assert_eq!(error.to_string(), "Expected UpDecoderBlock2D for up_block_types but received AttnUpDecoderBlock2D");
    }
}
