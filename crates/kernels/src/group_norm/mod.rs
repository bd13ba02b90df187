//! Group normalisation of channels-last images and tokens.

use crate::argument::{expect, expect_shape, wide};
use crate::Activation;
use candle_core::{Result, Tensor, D};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with statistics over the positions and channels of each group; arXiv:1803.08494.
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

/// Replaces `weight` and `bias` per sample: `norm(x) * (1 + scale) + shift`, both (B, C).
type ScaleShift<'a> = Option<(&'a Tensor, &'a Tensor)>;

impl GroupNorm {
    /// Weight and bias `(C)`, `groups` a divisor of C. Errors: other shapes, or groups that do not divide C.
    pub fn new(weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Self> {
        expect(weight.rank() == 1, "shape (C)", "weight", weight.dims())?;
        expect_shape(bias, weight.dims(), "bias")?;
        let channels = weight.dims()[0];
        expect(groups > 0 && channels % groups == 0, &format!("a divisor of {channels}"), "groups", groups)?;
        Ok(Self { weight: weight.clone(), bias: bias.clone(), groups, eps })
    }

    /// x (B, .., C) -> the same shape, followed by the activation.
    pub fn forward(&self, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x], None, activation)
    }

    /// The normalised concatenation (B, H, W, C1 + C2) of x1 (B, H, W, C1) and x2 (B, H, W, C2).
    pub fn forward_concat(&self, x1: &Tensor, x2: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x1, x2], None, activation)
    }

    /// `activation(norm(x) * (1 + scale) + shift)` with scale and shift (B, C); diffusers' `time_embedding_norm = "scale_shift"`.
    pub fn forward_scale_shift(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x], Some((scale, shift)), activation)
    }

    fn run(&self, inputs: &[&Tensor], scale_shift: ScaleShift, activation: Option<Activation>) -> Result<Tensor> {
        let (channels, rank) = (self.weight.dims()[0], inputs[0].rank());
        expect(rank >= 2, "shape (B, .., C)", "x", inputs[0].dims())?;
        let positions = &inputs[0].dims()[..rank - 1];
        for x in &inputs[1..] {
            expect(x.rank() == rank && &x.dims()[..rank - 1] == positions, &format!("{positions:?} before the channels"), "x2", x.dims())?;
        }
        let sum: usize = inputs.iter().map(|x| x.dims()[rank - 1]).sum();
        expect(sum == channels, &format!("{channels} channels"), "x", sum)?;
        if let Some((scale, shift)) = scale_shift {
            expect_shape(scale, &[positions[0], channels], "scale")?;
            expect_shape(shift, &[positions[0], channels], "shift")?;
        }
        self.reference(inputs, scale_shift, activation)
    }

    /// In candle ops; half precisions compute in f32.
    fn reference(&self, inputs: &[&Tensor], scale_shift: ScaleShift, activation: Option<Activation>) -> Result<Tensor> {
        let x = if inputs.len() == 1 { inputs[0].clone() } else { Tensor::cat(inputs, D::Minus1)? };
        let (batch, channels, dtype) = (x.dims()[0], self.weight.dims()[0], wide(x.dtype()));
        let grouped = x.to_dtype(dtype)?.reshape((batch, (), self.groups, channels / self.groups))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim((1, 3))?)?;
        let variance = centred.sqr()?.mean_keepdim((1, 3))?;
        let y = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?.reshape((batch, (), channels))?;
        let y = y.broadcast_mul(&self.weight.to_dtype(dtype)?)?.broadcast_add(&self.bias.to_dtype(dtype)?)?;
        let y = match scale_shift {
            Some((scale, shift)) => {
                let row = |t: &Tensor| t.to_dtype(dtype)?.unsqueeze(1);
                y.broadcast_mul(&(row(scale)? + 1.0)?)?.broadcast_add(&row(shift)?)?
            }
            None => y,
        };
        let y = match activation {
            Some(activation) => activation.reference(&y)?,
            None => y,
        };
        y.reshape(x.dims())?.to_dtype(x.dtype())
    }
}
