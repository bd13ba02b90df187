//! Between diffusers' channels-first images and our channels-last ones.

use crate::argument::expect;
use candle_core::{Result, Tensor};

/// (B, C, H, W) -> (B, H, W, C), contiguous.
pub fn nchw_to_nhwc(x: &Tensor) -> Result<Tensor> {
    expect(x.rank() == 4, "four dimensions (B, C, H, W)", "x", x.dims())?;
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// (B, H, W, C) -> (B, C, H, W), contiguous.
pub fn nhwc_to_nchw(x: &Tensor) -> Result<Tensor> {
    expect(x.rank() == 4, "four dimensions (B, H, W, C)", "x", x.dims())?;
    x.permute((0, 3, 1, 2))?.contiguous()
}
