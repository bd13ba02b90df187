use crate::error::Result;
use candle_core::Tensor;

/// Which positions of the old and the new grid coincide.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Align {
    /// The corners of the corner pixels (`align_corners=False`).
    Edges,
    /// The centres of the corner pixels (`align_corners=True`).
    Corners,
}

/// x (B, H, W, C) -> (B, height, width, C), interpolated linearly. Source: torch.nn.functional.interpolate, mode "bilinear".
pub(super) fn bilinear(x: &Tensor, size: (usize, usize), align: Align) -> Result<Tensor> {
    let rows = along(x, 1, size.0, align)?;
    along(&rows, 2, size.1, align)
}

fn along(x: &Tensor, dim: usize, size: usize, align: Align) -> Result<Tensor> {
    let old = x.dim(dim)?;
    if old == size {
        return Ok(x.clone());
    }
    let (mut lower, mut upper, mut part) = (Vec::with_capacity(size), Vec::with_capacity(size), Vec::with_capacity(size));
    for i in 0..size {
        let position = position(i, old, size, align);
        let floor = (position.floor() as usize).min(old - 1);
        lower.push(floor as u32);
        upper.push((floor + 1).min(old - 1) as u32);
        part.push(position - floor as f32);
    }
    let mut shape = [1, 1, 1, 1];
    shape[dim] = size;
    let part = Tensor::from_vec(part, &shape, x.device())?;
    let low = x.index_select(&Tensor::from_vec(lower, size, x.device())?, dim)?;
    let high = x.index_select(&Tensor::from_vec(upper, size, x.device())?, dim)?;
    Ok((&low + (high - &low)?.broadcast_mul(&part)?)?)
}

fn position(i: usize, old: usize, size: usize, align: Align) -> f32 {
    match align {
        Align::Corners if size == 1 => 0.0,
        Align::Corners => i as f32 * ((old - 1) as f32 / (size - 1) as f32),
        Align::Edges => ((i as f32 + 0.5) * (old as f32 / size as f32) - 0.5).max(0.0),
    }
}
