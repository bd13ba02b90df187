//! Between diffusers' channels-first images and our channels-last ones.

mod cpu;

use crate::argument::expect;
use candle_core::{Result, Tensor};

/// (B, C, H, W) -> (B, H, W, C), contiguous.
pub fn nchw_to_nhwc(x: &Tensor) -> Result<Tensor> {
    expect(x.rank() == 4, "four dimensions (B, C, H, W)", "x", x.dims())?;
    let (b, c, h, w) = x.dims4()?;
    let _op = crate::profile::op("layout", || (format!("{:?}", x.dims()), 0.0));
    match crate::cpu::ours(x.device(), x.dtype()) {
        Some(level) => cpu::transpose(level, x, (b, c, h * w), [b, h, w, c]),
        None => x.permute((0, 2, 3, 1))?.contiguous(),
    }
}

/// (B, H, W, C) -> (B, C, H, W), contiguous.
pub fn nhwc_to_nchw(x: &Tensor) -> Result<Tensor> {
    expect(x.rank() == 4, "four dimensions (B, H, W, C)", "x", x.dims())?;
    let (b, h, w, c) = x.dims4()?;
    let _op = crate::profile::op("layout", || (format!("{:?}", x.dims()), 0.0));
    match crate::cpu::ours(x.device(), x.dtype()) {
        Some(level) => cpu::transpose(level, x, (b, h * w, c), [b, c, h, w]),
        None => x.permute((0, 3, 1, 2))?.contiguous(),
    }
}
