//! CLIP, UNet2DConditionModel, AutoencoderKL, the tokenizer, weights and random numbers.

mod cancel;
mod error;
pub mod random;
pub mod tokenizer;

pub use cancel::CancelToken;
pub use error::{ModelError, Result};
