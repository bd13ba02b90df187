//! Layer normalisation over the channels.

mod cpu;

use crate::argument::{expect, expect_shape, wide};
use candle_core::{DType, Result, Tensor, D};
use std::sync::Arc;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension; arXiv:1607.06450.
#[derive(Clone)]
pub struct LayerNorm {
    channels: usize,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Plain { weight: Tensor, bias: Tensor, eps: f64 },
    Cpu(Arc<cpu::Body>),
}

impl LayerNorm {
    /// Weight and bias `(C)`. Errors: other shapes.
    pub fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        expect(weight.rank() == 1, "shape (C)", "weight", weight.dims())?;
        expect_shape(bias, weight.dims(), "bias")?;
        let body = match crate::cpu::ours(weight.device(), DType::F32) {
            Some(level) => Body::Cpu(Arc::new(cpu::Body::new(level, weight, bias, eps)?)),
            None => Body::Plain { weight: weight.clone(), bias: bias.clone(), eps },
        };
        Ok(Self { channels: weight.dims()[0], body })
    }

    /// x (.., C) -> the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        expect(x.dims().last() == Some(&self.channels), &format!("shape (.., {})", self.channels), "x", x.dims())?;
        let _op = crate::profile::op("layer norm", || (format!("{:?}", x.dims()), 0.0));
        match &self.body {
            Body::Plain { weight, bias, eps } => reference(x, weight, bias, *eps),
            Body::Cpu(body) => body.forward(x),
        }
    }
}

/// In candle ops; half precisions compute in f32.
fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = wide(x.dtype());
    let wide = x.to_dtype(dtype)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let y = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    y.broadcast_mul(&weight.to_dtype(dtype)?)?.broadcast_add(&bias.to_dtype(dtype)?)?.to_dtype(x.dtype())
}
