//! Convolution in candle ops: to channels-first, pad, convolve, back.

use super::Conv2dConfig;
use crate::linear::rounded;
use crate::Storage;
use candle_core::{Result, Tensor, D};

/// Weights `(out, in, kh, kw)`, rounded to their storage, and `(out)`.
#[derive(Clone)]
pub(super) struct Plain {
    pub weight: Tensor,
    bias: Option<Tensor>,
    storage: Storage,
}

impl Plain {
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, storage: Storage) -> Result<Self> {
        let weight = match storage {
            Storage::Float(float) => weight.to_dtype(float)?,
            Storage::Int8 | Storage::Fast => rounded(&weight.flatten_from(1)?)?.reshape(weight.shape())?,
        };
        Ok(Self { weight, bias: bias.cloned(), storage })
    }

    /// Inputs (B, H, W, C_i) -> (B, H', W', out), in their dtype.
    pub fn forward(&self, inputs: &[&Tensor], resize: Option<(usize, usize)>, config: Conv2dConfig) -> Result<Tensor> {
        let x = if inputs.len() == 1 { inputs[0].clone() } else { Tensor::cat(inputs, D::Minus1)? };
        let x = match self.storage {
            Storage::Float(_) => x,
            Storage::Int8 | Storage::Fast => rounded(&x.flatten_from(1)?)?.reshape(x.shape())?,
        };
        let x = match resize {
            Some(size) => resize_nearest(&x, size)?,
            None => x,
        };
        let (top, left, bottom, right) = config.padding.sides();
        let x = x.permute((0, 3, 1, 2))?.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?.contiguous()?;
        let weight = self.weight.to_dtype(x.dtype())?;
        let y = x.conv2d(&weight, 0, config.stride, 1, 1)?.permute((0, 2, 3, 1))?.contiguous()?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?),
            None => Ok(y),
        }
    }
}

/// x (B, H, W, C) -> (B, height, width, C), each pixel a copy of `nearest`.
pub(crate) fn resize_nearest(x: &Tensor, (height, width): (usize, usize)) -> Result<Tensor> {
    let pick = |x: &Tensor, dim: usize, to: usize| {
        let from = x.dim(dim)?;
        let index: Vec<u32> = (0..to).map(|i| nearest(i, from, to) as u32).collect();
        x.index_select(&Tensor::from_vec(index, to, x.device())?, dim)
    };
    pick(&pick(x, 1, height)?, 2, width)
}

/// The source of position `i` when `from` positions become `to`: torch's `nearest` mode, which multiplies by the f32 ratio and truncates.
pub(crate) fn nearest(i: usize, from: usize, to: usize) -> usize {
    ((i as f32 * (from as f32 / to as f32)) as usize).min(from - 1)
}
