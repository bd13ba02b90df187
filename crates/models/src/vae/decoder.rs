use super::coder::{CoderShape, Layer};
use super::mid_block::MidBlock;
use super::norm::Norm;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue};

struct DecoderBlock {
    layers: Vec<Layer>,
    upsampler: Option<Conv2d>,
}

/// Latents to pixels. Source: diffusers vae.py `Decoder`, unet_2d_blocks.py `UpDecoderBlock2D`, `AttnUpDecoderBlock2D`.
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<DecoderBlock>,
    conv_norm_out: Norm,
    conv_out: Conv2d,
}

impl Decoder {
    pub fn new(b: &Builder, shape: &CoderShape) -> Result<Self> {
        let channels = &shape.channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = last;
        let mut up_blocks = Vec::with_capacity(channels.len());
        for (i, &outputs) in channels.iter().rev().enumerate() {
            let b = b.pp(format!("up_blocks.{i}"));
            let layer = |k: usize| Layer::new(&b, k, shape, (if k == 0 { inputs } else { outputs }, outputs), shape.attention[i]);
            let upsampler = ConvShape::same(outputs, outputs, 3);
            up_blocks.push(DecoderBlock {
                layers: (0..shape.layers + 1).map(layer).collect::<Result<_>>()?,
                upsampler: (i + 1 < channels.len()).then(|| b.conv("upsamplers.0.conv", upsampler)).transpose()?,
            });
            inputs = outputs;
        }
        Ok(Self {
            conv_in: b.conv("conv_in", ConvShape::same(shape.inputs, last, 3))?,
            mid_block: MidBlock::new(&b.pp("mid_block"), shape, last)?,
            up_blocks,
            conv_norm_out: Norm::new(b, "conv_norm_out", first, shape)?,
            conv_out: b.conv("conv_out", ConvShape::same(first, shape.outputs, 3))?,
        })
    }

    /// z (B, h, w, inputs) -> (B, H, W, outputs). `latents` (B, h, w, C) is what spatial norms read.
    pub fn forward(&self, z: &Tensor, latents: Option<&Tensor>, cancel: &CancelToken) -> Result<Tensor> {
        let mut x = self.mid_block.forward(self.conv_in.forward(z)?, latents)?;
        for block in &self.up_blocks {
            for layer in &block.layers {
                cancel.check()?;
                x = layer.forward(x, latents)?;
            }
            if let Some(upsampler) = &block.upsampler {
                x = upsampler.forward_upsampled(&x, (2 * x.dim(1)?, 2 * x.dim(2)?), &Epilogue::default())?;
            }
        }
        cancel.check()?;
        Ok(self.conv_out.forward(&self.conv_norm_out.forward(&x, latents, Some(Activation::Silu))?)?)
    }
}
