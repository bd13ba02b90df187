//! CLIP's text and image encoders.

mod config;
mod layer;
mod text;
mod vision;

pub use config::{ClipTextConfig, ClipTransformerConfig, ClipVisionConfig};
pub use text::{ClipTextModel, ClipTextOutput, TextProjection};
pub use vision::{ClipVisionModelWithProjection, ClipVisionOutput};
