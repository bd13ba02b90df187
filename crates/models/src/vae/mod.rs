//! The autoencoder between pixels and latents.

mod coder;
mod config;
mod decoder;
mod encoder;
mod mid_block;
mod model;
mod norm;
mod resnet;
mod tiling;
mod tiny;
mod vq;
mod vq_config;

pub use config::VaeConfig;
pub use model::{split_moments, AutoencoderKL, VaeOptions};
pub use tiling::Tiling;
pub use tiny::{AutoencoderTiny, TinyVaeConfig};
pub use vq::{Quantize, VqModel};
pub use vq_config::VqConfig;

/// Epsilon of all normalisations of an autoencoder. Source: diffusers vae.py `Encoder`, `resnet_eps`.
const EPS: f64 = 1e-6;
