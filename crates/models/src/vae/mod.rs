//! The autoencoder between pixels and latents.

mod config;
mod decoder;
mod encoder;
mod mid_block;
mod model;
mod tiling;
mod tiny;

pub use config::VaeConfig;
pub use model::{split_moments, AutoencoderKL, VaeOptions};
pub use tiling::Tiling;
pub use tiny::{AutoencoderTiny, TinyVaeConfig};

use crate::blocks::resnet::{Resample, ResnetShape, TimeShift};

/// Epsilon of all normalisations of an autoencoder. Source: diffusers vae.py `Encoder`, `resnet_eps`.
const EPS: f64 = 1e-6;

fn resnet_shape(config: &VaeConfig, inputs: usize, outputs: usize) -> ResnetShape {
    ResnetShape {
        inputs,
        outputs,
        time_width: None,
        time_shift: TimeShift::Default,
        skip_time_act: false,
        groups: config.norm_num_groups,
        eps: EPS,
        activation: config.act_fn,
        output_scale: 1.0,
        resample: Resample::Keep,
    }
}
