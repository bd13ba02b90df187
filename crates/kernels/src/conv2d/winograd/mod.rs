//! 3x3 convolution by Winograd's F(m x m, 3 x 3): input tiles of (m + 2)^2 pixels are transformed per channel, the products over channels are matrix products
//! of the GEMM's micro-kernel, and each result tile is transformed back. Multiplications per pixel: 9 direct, 4 for m = 2, 2.25 for 4, 1.78 for 6.
//!
//! Work is cut so that nothing large travels far: a chunk of tiles is transformed into V (shared, in L3), then each task takes one panel of output channels and a
//! slice of the chunk's tiles, multiplies all positions into a private M (in L2 and L3) and transforms M back. V is `[position][tile][channel]`, M
//! `[position][tile][column]`; positions are an odd number of cache lines apart, because multiples of 4 KiB would fall into the same cache sets.
//!
//! Transformed weights U are four times as large as the weights and more. Small ones are kept; of large ones a task of a small image makes some channels of its
//! panel at a time next to their products, one row of the tile in L2, and larger images share what is made for the call.

mod products;
mod run;
mod transforms;
mod weights;

pub(super) use transforms::{InPairs, Tile, F2, F4, F6};

use super::cpu::{Body, Call};
use super::{Conv2dConfig, Padding};
use crate::gemm::Unit;
pub(super) use weights::Winograd;

/// The form that serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F2,
    /// With products of brain floats.
    F2InPairs,
    F4,
    /// With products of brain floats.
    F4InPairs,
    F6,
}

/// Which form pays for this call, if any: larger tiles save more products and need larger images and more memory for weights.
pub(super) fn choose(body: &Body, call: &Call) -> Option<Kind> {
    let (n, channels, kh, kw) = body.shape;
    let stride_one = matches!(body.config, Conv2dConfig { stride: 1, padding: Padding::Same(1) });
    if (kh, kw) != (3, 3) || !stride_one || crate::cpu::saves_memory() {
        return None;
    }
    let side = call.grid.output.0.min(call.grid.output.1);
    match (side, channels.min(n)) {
        // By operation counts (no CPU to measure on yet) two thirds of the time of bytes, which are too short for the transforms themselves; of smaller images
        // weights are most of the traffic.
        (28.., 16..) if body.fast => Some(Kind::F4InPairs),
        _ if body.packed.unit() == Unit::Quad => None,
        // In f32 for brain floats too: it takes less than half of the products of F2.
        (128.., 64..) => Some(Kind::F6),
        // The transforms of larger tiles would cost brain floats another digit.
        (12.., 16..) | (8.., 256..) if body.packed.unit() == Unit::Pair => Some(Kind::F2InPairs),
        (12.., 16..) => Some(Kind::F4),
        (8.., 256..) => Some(Kind::F2),
        _ => None,
    }
}
