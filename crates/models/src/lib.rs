//! CLIP, UNet2DConditionModel, AutoencoderKL, the tokenizer, weights and random numbers.

mod blocks;
mod cancel;
pub mod clip;
mod config;
mod error;
mod load;
pub mod random;
pub mod tokenizer;
pub mod unet;
pub mod vae;
pub mod weights;

pub use cancel::CancelToken;
pub use config::{read_json, ConfigFile};
pub use error::{ModelError, Result};
pub use load::{LoadContext, LoadReport, Progress};
