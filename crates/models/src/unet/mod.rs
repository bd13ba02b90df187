//! The conditional UNet of Stable Diffusion.

mod block_kind;
mod block_shape;
mod config;
mod down_block;
mod free_u;
mod input;
mod layer;
mod mid_block;
mod model;
mod text_pooling;
mod time_text;
mod up_block;

pub use config::{AdditionEmbed, ClassEmbed, TimeKind, UNetConfig};
pub use free_u::FreeUFactors as FreeU;
pub use input::UNetInput;
pub use model::UNet2DConditionModel;
