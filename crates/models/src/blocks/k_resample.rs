use crate::error::Result;
use candle_core::Tensor;

/// Index of a pixel outside `0..n`, mirrored at the border pixel.
fn reflect(i: isize, n: usize) -> u32 {
    let last = n as isize - 1;
    let inside = if i < 0 {
        -i
    } else if i > last {
        2 * last - i
    } else {
        i
    };
    inside.clamp(0, last) as u32
}

fn take(x: &Tensor, dim: usize, index: impl Fn(isize) -> isize, count: usize) -> Result<Tensor> {
    let n = x.dim(dim)?;
    let indices: Vec<u32> = (0..count).map(|i| reflect(index(i as isize), n)).collect();
    Ok(x.index_select(&Tensor::new(indices, x.device())?, dim)?)
}

fn halve(x: &Tensor, dim: usize) -> Result<Tensor> {
    let count = x.dim(dim)? / 2;
    let inner = (take(x, dim, |i| 2 * i, count)? + take(x, dim, |i| 2 * i + 1, count)?)?;
    let outer = (take(x, dim, |i| 2 * i - 1, count)? + take(x, dim, |i| 2 * i + 2, count)?)?;
    Ok(((inner * 0.375)? + (outer * 0.125)?)?)
}

fn double(x: &Tensor, dim: usize) -> Result<Tensor> {
    let n = x.dim(dim)?;
    let centre = (x * 0.75)?;
    let even = (&centre + (take(x, dim, |i| i - 1, n)? * 0.25)?)?;
    let odd = (&centre + (take(x, dim, |i| i + 1, n)? * 0.25)?)?;
    let mut shape = x.dims().to_vec();
    shape[dim] = 2 * n;
    Ok(Tensor::stack(&[even, odd], dim + 1)?.reshape(shape)?)
}

/// Halves x (B, H, W, C) with the kernel (1, 3, 3, 1) / 8 and mirrored borders. Source: diffusers downsampling.py `KDownsample2D`.
pub(crate) fn k_downsample(x: &Tensor) -> Result<Tensor> {
    halve(&halve(x, 1)?, 2)
}

/// Doubles x (B, H, W, C) with the kernel (1, 3, 3, 1) / 4 and mirrored borders. Source: diffusers upsampling.py `KUpsample2D`.
pub(crate) fn k_upsample(x: &Tensor) -> Result<Tensor> {
    double(&double(x, 1)?, 2)
}
