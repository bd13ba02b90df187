use super::config::VaeConfig;
use super::mid_block::MidBlock;
use super::resnet_shape;
use crate::blocks::resnet::ResnetBlock;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, GroupNorm, Padding};

struct EncoderBlock {
    resnets: Vec<ResnetBlock>,
    downsampler: Option<Conv2d>,
}

/// Pixels to the moments of latents. Source: diffusers vae.py `Encoder`, unet_2d_blocks.py `DownEncoderBlock2D`.
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<EncoderBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub fn new(b: &Builder, config: &VaeConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = first;
        let mut down_blocks = Vec::with_capacity(channels.len());
        for (i, &outputs) in channels.iter().enumerate() {
            let b = b.pp(format!("down_blocks.{i}"));
            let resnet =
                |k: usize| ResnetBlock::new(&b.pp(format!("resnets.{k}")), resnet_shape(config, if k == 0 { inputs } else { outputs }, outputs));
            let strided = ConvShape::same(outputs, outputs, 3).stride(2).padding(Padding::Asymmetric { top: 0, left: 0, bottom: 1, right: 1 });
            down_blocks.push(EncoderBlock {
                resnets: (0..config.layers_per_block).map(resnet).collect::<Result<_>>()?,
                downsampler: (i + 1 < channels.len()).then(|| b.conv("downsamplers.0.conv", strided)).transpose()?,
            });
            inputs = outputs;
        }
        Ok(Self {
            conv_in: b.conv("conv_in", ConvShape::same(config.in_channels, first, 3))?,
            down_blocks,
            mid_block: MidBlock::new(&b.pp("mid_block"), resnet_shape(config, last, last), config.mid_block_add_attention)?,
            conv_norm_out: b.group_norm("conv_norm_out", last, config.norm_num_groups, super::EPS)?,
            conv_out: b.conv("conv_out", ConvShape::same(last, 2 * config.latent_channels, 3))?,
        })
    }

    /// x (B, H, W, 3) -> (B, h, w, 2 latent_channels).
    pub fn forward(&self, x: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                cancel.check()?;
                x = resnet.forward(&x, None, None)?;
            }
            if let Some(downsampler) = &block.downsampler {
                x = downsampler.forward(&x)?;
            }
        }
        cancel.check()?;
        let x = self.mid_block.forward(&x)?;
        Ok(self.conv_out.forward(&self.conv_norm_out.forward(&x, Some(Activation::Silu))?)?)
    }
}
