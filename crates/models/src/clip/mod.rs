//! CLIP's text and image encoders.

mod config;
mod layer;
mod text;
mod token_rows;
mod vision;

pub(crate) use config::hidden_act;
pub use config::{ClipTextConfig, ClipTransformerConfig, ClipVisionConfig};
pub(crate) use layer::{ClipLayer, LayerNames};
pub use text::{ClipTextModel, ClipTextOutput, TextProjection};
pub use vision::{ClipVisionModel, ClipVisionOutput};
