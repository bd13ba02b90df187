//! The operations of Stable Diffusion on candle tensors, without any knowledge of models: one folder each, with a reference body in plain candle ops and
//! our own CPU body.
//!
//! Activations are channels-last and contiguous: images `(B, H, W, C)`, tokens `(B, L, C)`. An operation with weights is a struct that is built once; on a
//! CPU it packs its weights for our kernels, on any other device (or under `NODE_DIFFUSION_CPU=reference`) it keeps plain tensors and runs the reference.

// Register tiles are indexed by row and column on both sides of each assignment; iterators would hide that.
#![allow(clippy::needless_range_loop)]

mod activation;
mod argument;
mod attention;
mod buffer;
mod conv2d;
pub mod cpu;
pub mod dry;
mod epilogue;
mod geglu;
mod gemm;
mod group_norm;
pub mod large_blocks;
mod layer_norm;
mod layout;
mod linear;
mod linear_combination;
mod low_rank;
pub mod machine;
pub mod memory;
pub mod pool;
pub mod profile;
mod simd;
mod storage;
mod weight;

pub use activation::{activation, Activation};
pub use attention::{attention, Heads, Mask};
pub use conv2d::{Conv2d, Conv2dConfig, Padding};
pub use epilogue::Epilogue;
pub use geglu::Geglu;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use layout::{nchw_to_nhwc, nhwc_to_nchw};
pub use linear::Linear;
pub use linear_combination::linear_combination;
pub use low_rank::LowRank;
pub use storage::Storage;
pub use weight::Weight;
