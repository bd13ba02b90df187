use crate::error::Result;
use candle_core::Tensor;

/// Nearest-neighbour doubling of x (B, H, W, C). Source: diffusers upsampling.py `Upsample2D` without convolution.
pub(crate) fn double_nearest(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let spread = x.reshape((batch, height, 1, width, 1, channels))?.broadcast_as((batch, height, 2, width, 2, channels))?;
    Ok(spread.contiguous()?.reshape((batch, 2 * height, 2 * width, channels))?)
}

/// Mean of 2x2 pixels of x (B, H, W, C); an odd last row or column is dropped. Source: diffusers downsampling.py `Downsample2D`.
pub(crate) fn halve_average(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (half_h, half_w) = (height / 2, width / 2);
    let even = x.narrow(1, 0, 2 * half_h)?.narrow(2, 0, 2 * half_w)?.contiguous()?;
    let pairs = even.reshape((batch, half_h, 2, half_w, 2, channels))?;
    Ok((pairs.sum(4)?.sum(2)? * 0.25)?)
}
