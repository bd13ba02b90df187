//! Small networks that join a UNet: T2I-Adapter, IP-Adapter, motion modules.

mod image_mask;
mod image_projection;
mod ip_adapter;
mod motion;
mod t2i;
mod temporal;

pub use image_mask::downsample as downsample_image_mask;
pub use ip_adapter::{ImagePrompt, IpAdapter, IpAdapterConfig};
pub use motion::{Motion, MotionAdapter, MotionConfig};
pub use t2i::{T2IAdapter, T2IAdapterConfig};
pub use temporal::FrameWindows;

pub(crate) use ip_adapter::PreparedPrompt;
pub(crate) use motion::MotionPlace;
