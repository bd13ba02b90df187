//! Layer normalisation over the channels.

use crate::argument::{expect, expect_shape, wide};
use candle_core::{Result, Tensor, D};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension; arXiv:1607.06450.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Weight and bias `(C)`. Errors: other shapes.
    pub fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        expect(weight.rank() == 1, "shape (C)", "weight", weight.dims())?;
        expect_shape(bias, weight.dims(), "bias")?;
        Ok(Self { weight: weight.clone(), bias: bias.clone(), eps })
    }

    /// x (.., C) -> the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.weight.dims()[0];
        expect(x.dims().last() == Some(&channels), &format!("shape (.., {channels})"), "x", x.dims())?;
        self.reference(x)
    }

    /// In candle ops; half precisions compute in f32.
    fn reference(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = wide(x.dtype());
        let wide = x.to_dtype(dtype)?;
        let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let y = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        y.broadcast_mul(&self.weight.to_dtype(dtype)?)?.broadcast_add(&self.bias.to_dtype(dtype)?)?.to_dtype(x.dtype())
    }
}
