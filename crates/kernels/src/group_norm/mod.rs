//! Group normalisation of channels-last images and tokens.

mod cpu;
mod in_place;
mod map;
mod reference;
mod statistics;

use crate::argument::{expect, expect_shape};
use crate::Activation;
use candle_core::{DType, Result, Tensor};
use std::sync::Arc;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with statistics over the positions and channels of each group; arXiv:1803.08494.
#[derive(Clone)]
pub struct GroupNorm {
    channels: usize,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Plain(reference::Plain),
    Cpu(Arc<cpu::Body>),
}

/// Replaces `weight` and `bias` per sample: `norm(x) * (1 + scale) + shift`, both (B, C).
type ScaleShift<'a> = Option<(&'a Tensor, &'a Tensor)>;

impl GroupNorm {
    /// Weight and bias `(C)`, `groups` a divisor of C. Errors: other shapes, or groups that do not divide C.
    pub fn new(weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Self> {
        expect(weight.rank() == 1, "shape (C)", "weight", weight.dims())?;
        expect_shape(bias, weight.dims(), "bias")?;
        let channels = weight.dims()[0];
        expect(groups > 0 && channels.is_multiple_of(groups), &format!("a divisor of {channels}"), "groups", groups)?;
        let body = match crate::cpu::ours(weight.device(), DType::F32) {
            Some(level) => Body::Cpu(Arc::new(cpu::Body::new(level, weight, bias, groups, eps)?)),
            None => Body::Plain(reference::Plain { weight: weight.clone(), bias: bias.clone(), groups, eps }),
        };
        Ok(Self { channels, body })
    }

    /// x (B, .., C) -> the same shape, followed by the activation.
    pub fn forward(&self, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x], None, activation)
    }

    /// As `forward`, in the memory of x where that is possible: for the last reader of a tensor, whose other shares would see the result.
    pub fn forward_in_place(&self, x: Tensor, activation: Option<Activation>) -> Result<Tensor> {
        match &self.body {
            Body::Cpu(body) if in_place::fits(&x, self.channels) => {
                let _op = crate::profile::op("group norm", || (format!("{:?} x {}, in place", &x.dims()[..x.rank() - 1], self.channels), 0.0));
                in_place::forward(body, x, activation)
            }
            _ => self.forward(&x, activation),
        }
    }

    /// The normalised concatenation (B, H, W, C1 + C2) of x1 (B, H, W, C1) and x2 (B, H, W, C2).
    pub fn forward_concat(&self, x1: &Tensor, x2: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x1, x2], None, activation)
    }

    /// `activation(norm(x) * (1 + scale) + shift)` with scale and shift (B, C); diffusers' `time_embedding_norm = "scale_shift"`.
    pub fn forward_scale_shift(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        self.run(&[x], Some((scale, shift)), activation)
    }

    /// `activation(norm(x) * scale + shift)` of x (B, H, W, C) with scale and shift (B, h, w, C) enlarged to x's size, each position a copy of the nearest:
    /// the spatially conditioned norm of arXiv:2209.09002.
    pub fn forward_map(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        let (batch, height, width, channels) = crate::argument::image(x, "x")?;
        expect(channels == self.channels, &format!("{} channels", self.channels), "x", channels)?;
        let (_, h, w, _) = crate::argument::image(scale, "scale")?;
        expect_shape(scale, &[batch, h, w, channels], "scale")?;
        expect_shape(shift, &[batch, h, w, channels], "shift")?;
        let _op = crate::profile::op("group norm", || (format!("{:?} x {channels}, mapped", [batch, height, width]), 0.0));
        match &self.body {
            Body::Plain(plain) => plain.forward_map(x, scale, shift, activation),
            Body::Cpu(body) => map::forward(body, x, [scale, shift], activation),
        }
    }

    fn run(&self, inputs: &[&Tensor], scale_shift: ScaleShift, activation: Option<Activation>) -> Result<Tensor> {
        let (channels, rank) = (self.channels, inputs[0].rank());
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
        let _op = crate::profile::op("group norm", || (format!("{:?} x {channels}", &inputs[0].dims()[..rank - 1]), 0.0));
        match &self.body {
            Body::Plain(plain) => plain.forward(inputs, scale_shift, activation),
            Body::Cpu(body) => body.forward(inputs, scale_shift, activation),
        }
    }
}
