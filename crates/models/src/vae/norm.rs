use super::coder::CoderShape;
use super::EPS;
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use candle_core::Tensor;
use nd_kernels::{Activation, GroupNorm, Linear};

/// Groups of a spatial norm, whatever the config says. Source: diffusers attention_processor.py `SpatialNorm`.
const SPATIAL_GROUPS: usize = 32;

/// `norm_type` of a decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormKind {
    Group,
    /// Scaled and shifted by latents of this many channels.
    Spatial(usize),
}

impl NormKind {
    /// What an attention's norm is called in checkpoints.
    pub fn name_in_attention(self) -> &'static str {
        match self {
            Self::Group => "group_norm",
            Self::Spatial(_) => "spatial_norm",
        }
    }
}

/// A normalisation of an autoencoder.
pub(super) enum Norm {
    Group(GroupNorm),
    /// The norm, and what makes its scale and shift of the latents; arXiv:2209.09002. Both commute with enlarging by copies, so they see the small grid.
    Spatial {
        norm_layer: GroupNorm,
        conv_y: Linear,
        conv_b: Linear,
    },
}

impl Norm {
    pub fn new(b: &Builder, name: &str, channels: usize, shape: &CoderShape) -> Result<Self> {
        let b_name = b.pp(name);
        Ok(match shape.norm {
            NormKind::Group => Self::Group(b.group_norm(name, channels, shape.groups, EPS)?),
            NormKind::Spatial(latents) => Self::Spatial {
                norm_layer: b_name.group_norm("norm_layer", channels, SPATIAL_GROUPS, EPS)?,
                conv_y: b_name.linear("conv_y", latents, channels, Bias::Yes)?,
                conv_b: b_name.linear("conv_b", latents, channels, Bias::Yes)?,
            },
        })
    }

    /// x (B, H, W, C) and, for a spatial norm, latents (B, h, w, L) -> (B, H, W, C), followed by the activation.
    pub fn forward(&self, x: &Tensor, latents: Option<&Tensor>, activation: Option<Activation>) -> Result<Tensor> {
        match self {
            Self::Group(norm) => Ok(norm.forward(x, activation)?),
            Self::Spatial { norm_layer, conv_y, conv_b } => {
                let latents = latents.ok_or_else(|| ModelError::argument("latents", "a tensor for spatial norms", "nothing"))?;
                Ok(norm_layer.forward_map(x, &conv_y.forward(latents)?, &conv_b.forward(latents)?, activation)?)
            }
        }
    }
}
