//! Networks that steer a UNet by an image.

mod cond_embedding;
mod config;
mod model;
mod trunk;
mod union;

pub use config::{ChannelOrder, ControlNetConfig, UnionConfig};
pub use model::{ControlNetInput, ControlNetModel};
pub use trunk::ControlNetOutput;
pub use union::{ControlNetUnionModel, UnionInput};
