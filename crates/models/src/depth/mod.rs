//! DPT: depth of a picture by a vision transformer.

mod bilinear;
mod bit;
mod config;
mod fusion;
mod model;
mod reassemble;

pub use config::{DptConfig, Readout};
pub use model::DptForDepthEstimation;
