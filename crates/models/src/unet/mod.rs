//! The conditional UNet of Stable Diffusion.

mod block_kind;
mod block_shape;
mod config;
pub(crate) use config::layers_by_block;
mod down_block;
pub(crate) mod down_half;
mod free_u;
mod image_conditioning;
mod input;
mod layer;
pub(crate) mod mid_block;
mod model;
mod text_pooling;
mod time_text;
mod up_block;

pub use config::{AdditionEmbed, ClassEmbed, ContextKind, TimeKind, UNetConfig};
pub use free_u::FreeUFactors as FreeU;
pub use input::{Perturbation, UNetInput};
pub use model::UNet2DConditionModel;
