//! Two-dimensional convolution on channels-last images.

mod cpu;
mod in_pairs;
mod narrow;
mod pixels;
mod reference;
mod upsample;
mod winograd;

pub(crate) use reference::{nearest, resize_nearest};

use crate::argument::{expect, image};
use crate::linear::check_bias;
use crate::{Epilogue, Storage, Weight};
use candle_core::{bail, Result, Tensor};
use std::sync::Arc;

/// Zeros around the image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The same on all four sides.
    Same(usize),
    /// Each side its own; diffusers pads (0, 0, 1, 1) before the VAE encoder's strided convolutions.
    Asymmetric { top: usize, left: usize, bottom: usize, right: usize },
}

impl Padding {
    /// (top, left, bottom, right).
    pub fn sides(self) -> (usize, usize, usize, usize) {
        match self {
            Self::Same(p) => (p, p, p, p),
            Self::Asymmetric { top, left, bottom, right } => (top, left, bottom, right),
        }
    }
}

/// Geometry of a convolution besides its kernel size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Distance between read positions, in both directions; at least 1.
    pub stride: usize,
    pub padding: Padding,
}

impl Default for Conv2dConfig {
    /// Stride 1, no padding.
    fn default() -> Self {
        Self { stride: 1, padding: Padding::Same(0) }
    }
}

/// A convolution with one group and no dilation. Weights are packed once, in the storage dtype; products accumulate in f32.
/// Clones share the weights.
#[derive(Clone)]
pub struct Conv2d {
    /// (out, in, kernel height, kernel width).
    shape: (usize, usize, usize, usize),
    config: Conv2dConfig,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Plain(reference::Plain),
    Cpu(Arc<cpu::Body>),
}

impl Conv2d {
    /// Packs a weight `(out, in, kh, kw)` of any float dtype and an optional bias `(out)`; storage as in [`crate::Linear::new`].
    pub fn new<'a>(weight: impl Into<Weight<'a>>, bias: Option<&Tensor>, config: Conv2dConfig, storage: impl Into<Storage>) -> Result<Self> {
        let weight = weight.into();
        let &[out, channels, kh, kw] = weight.dims() else { bail!("Expected shape (out, in, kh, kw) for weight but received {:?}", weight.dims()) };
        expect(config.stride > 0, "a positive number", "stride", config.stride)?;
        let shape = (out, channels, kh, kw);
        check_bias(bias, shape.0)?;
        let storage = storage.into();
        let body = match crate::cpu::ours(&weight.device(), storage) {
            Some(level) => Body::Cpu(Arc::new(cpu::Body::new(level, weight, bias, config, storage)?)),
            None => Body::Plain(reference::Plain::new(&weight.tensor()?, bias, storage)?),
        };
        Ok(Self { shape, config, body })
    }

    /// x (B, H, W, in) -> (B, H', W', out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, &Epilogue::default())
    }

    /// x (B, H, W, in) -> (B, H', W', out), with the epilogue.
    pub fn forward_with(&self, x: &Tensor, epilogue: &Epilogue) -> Result<Tensor> {
        self.run(&[x], None, epilogue)
    }

    /// As on the concatenation of x1 (B, H, W, C1) and x2 (B, H, W, C2) along the channels, C1 + C2 = in, read in place.
    pub fn forward_concat(&self, x1: &Tensor, x2: &Tensor, epilogue: &Epilogue) -> Result<Tensor> {
        self.run(&[x1, x2], None, epilogue)
    }

    /// Nearest-neighbour resize of x (B, H, W, in) to `size` (height, width), then the convolution; the resized image is never stored on the CPU.
    pub fn forward_upsampled(&self, x: &Tensor, size: (usize, usize), epilogue: &Epilogue) -> Result<Tensor> {
        expect(size.0 > 0 && size.1 > 0, "positive sizes", "size", size)?;
        self.run(&[x], Some(size), epilogue)
    }

    /// Channels read.
    pub fn in_channels(&self) -> usize {
        self.shape.1
    }

    /// Channels written.
    pub fn out_channels(&self) -> usize {
        self.shape.0
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Plain(plain) => plain.weight.elem_count() * plain.weight.dtype().size_in_bytes(),
            Body::Cpu(body) => body.bytes(),
        }
    }

    fn run(&self, inputs: &[&Tensor], resize: Option<(usize, usize)>, epilogue: &Epilogue) -> Result<Tensor> {
        let output = self.output_shape(inputs, resize)?;
        epilogue.check(&output)?;
        let _op = crate::profile::op("conv", || self.describe(&output, resize.is_some()));
        match &self.body {
            Body::Plain(plain) => epilogue.reference(plain.forward(inputs, resize, self.config)?),
            Body::Cpu(body) => body.forward(inputs, resize, output, epilogue),
        }
    }

    /// Sizes and the direct method's FLOPs, for profiles.
    fn describe(&self, &[batch, height, width, out]: &[usize; 4], resized: bool) -> (String, f64) {
        let (_, channels, kh, kw) = self.shape;
        let how = match (resized, self.config.stride) {
            (true, _) => " resized",
            (_, 1) => "",
            _ => " strided",
        };
        let flops = 2.0 * (batch * height * width * out * channels * kh * kw) as f64;
        (format!("{kh}x{kw}{how} {channels} -> {out} at {batch}x{height}x{width}"), flops)
    }

    /// Checks the inputs against each other and the weight.
    fn output_shape(&self, inputs: &[&Tensor], resize: Option<(usize, usize)>) -> Result<[usize; 4]> {
        let (out, channels, kh, kw) = self.shape;
        let (batch, height, width, mut sum) = image(inputs[0], "x")?;
        for x in &inputs[1..] {
            let (b, h, w, c) = image(x, "x2")?;
            expect((b, h, w) == (batch, height, width), &format!("({batch}, {height}, {width}, C)"), "x2", x.dims())?;
            sum += c;
        }
        expect(sum == channels, &format!("{channels} channels"), "x", sum)?;
        let (height, width) = resize.unwrap_or((height, width));
        let (top, left, bottom, right) = self.config.padding.sides();
        let (padded_h, padded_w) = (height + top + bottom, width + left + right);
        expect(padded_h >= kh && padded_w >= kw, "an image at least as large as the kernel", "x", (padded_h, padded_w))?;
        Ok([batch, (padded_h - kh) / self.config.stride + 1, (padded_w - kw) / self.config.stride + 1, out])
    }
}
