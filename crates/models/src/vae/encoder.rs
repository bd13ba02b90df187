use super::coder::{CoderShape, Layer};
use super::mid_block::MidBlock;
use super::norm::Norm;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Padding};

struct EncoderBlock {
    layers: Vec<Layer>,
    downsampler: Option<Conv2d>,
}

/// Pixels to latents or their moments. Source: diffusers vae.py `Encoder`, unet_2d_blocks.py `DownEncoderBlock2D`, `AttnDownEncoderBlock2D`.
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<EncoderBlock>,
    mid_block: MidBlock,
    conv_norm_out: Norm,
    conv_out: Conv2d,
}

impl Encoder {
    pub fn new(b: &Builder, shape: &CoderShape) -> Result<Self> {
        let channels = &shape.channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = first;
        let mut down_blocks = Vec::with_capacity(channels.len());
        for (i, &outputs) in channels.iter().enumerate() {
            let b = b.pp(format!("down_blocks.{i}"));
            let layer = |k: usize| Layer::new(&b, k, shape, (if k == 0 { inputs } else { outputs }, outputs), shape.attention[i]);
            let strided = ConvShape::same(outputs, outputs, 3).stride(2).padding(Padding::Asymmetric { top: 0, left: 0, bottom: 1, right: 1 });
            down_blocks.push(EncoderBlock {
                layers: (0..shape.layers).map(layer).collect::<Result<_>>()?,
                downsampler: (i + 1 < channels.len()).then(|| b.conv("downsamplers.0.conv", strided)).transpose()?,
            });
            inputs = outputs;
        }
        Ok(Self {
            conv_in: b.conv("conv_in", ConvShape::same(shape.inputs, first, 3))?,
            down_blocks,
            mid_block: MidBlock::new(&b.pp("mid_block"), shape, last)?,
            conv_norm_out: Norm::new(b, "conv_norm_out", last, shape)?,
            conv_out: b.conv("conv_out", ConvShape::same(last, shape.outputs, 3))?,
        })
    }

    /// x (B, H, W, inputs) -> (B, h, w, outputs).
    pub fn forward(&self, x: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for block in &self.down_blocks {
            for layer in &block.layers {
                cancel.check()?;
                x = layer.forward(x, None)?;
            }
            if let Some(downsampler) = &block.downsampler {
                x = downsampler.forward(&x)?;
            }
        }
        cancel.check()?;
        let x = self.mid_block.forward(x, None)?;
        Ok(self.conv_out.forward(&self.conv_norm_out.forward(&x, None, Some(Activation::Silu))?)?)
    }
}
