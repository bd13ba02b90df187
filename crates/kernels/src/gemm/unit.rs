use super::pairs::Pair;
use super::tile::{kernels, Float, Kernels};
use crate::gemm::bytes::Quad;
use crate::simd::Simd;

/// What a lane of both operands of a product holds along the channels: always four bytes, so that panels, row pointers and tiles are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// One f32.
    Float,
    /// Two brain floats.
    Pair,
    /// Four signed bytes.
    Quad,
}

impl Unit {
    /// Numbers per lane.
    pub const fn numbers(self) -> usize {
        match self {
            Self::Float => 1,
            Self::Pair => 2,
            Self::Quad => 4,
        }
    }

    /// The register tiles.
    pub fn kernels<S: Simd>(self) -> &'static Kernels {
        match self {
            Self::Float => kernels::<Float, S>(),
            Self::Pair if S::has_pairs() => kernels::<Pair<true>, S>(),
            Self::Pair => kernels::<Pair<false>, S>(),
            Self::Quad => kernels::<Quad, S>(),
        }
    }
}
