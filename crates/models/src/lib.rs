//! CLIP, UNet2DConditionModel, AutoencoderKL, the priors of Kandinsky, the tokenizer, weights and random numbers.

pub mod adapters;
mod blocks;
mod cancel;
pub mod clip;
mod config;
pub mod controlnet;
pub mod depth;
mod error;
mod inspect;
mod load;
pub mod lora;
pub mod prior;
pub mod random;
mod shared_layers;
pub mod single_file;
pub mod tokenizer;
pub mod unet;
pub mod vae;
pub mod weights;

pub use cancel::CancelToken;
pub use config::{read_json, ConfigFile};
pub use error::{ModelError, Result};
pub use inspect::inspect;
pub use load::{LoadContext, LoadReport, Progress};
