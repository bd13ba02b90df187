//! The prior of Kandinsky: from text to an image embedding.

mod config;
mod model;

pub use config::PriorConfig;
pub use model::{PriorInput, PriorTransformer};
