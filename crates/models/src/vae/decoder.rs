use super::config::VaeConfig;
use super::mid_block::MidBlock;
use super::resnet_shape;
use crate::blocks::resnet::ResnetBlock;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue, GroupNorm};

struct DecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

/// Latents to pixels. Source: diffusers vae.py `Decoder`, unet_2d_blocks.py `UpDecoderBlock2D`.
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<DecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub fn new(b: &Builder, config: &VaeConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = last;
        let mut up_blocks = Vec::with_capacity(channels.len());
        for (i, &outputs) in channels.iter().rev().enumerate() {
            let b = b.pp(format!("up_blocks.{i}"));
            let resnet =
                |k: usize| ResnetBlock::new(&b.pp(format!("resnets.{k}")), resnet_shape(config, if k == 0 { inputs } else { outputs }, outputs));
            let upsampler = ConvShape::same(outputs, outputs, 3);
            up_blocks.push(DecoderBlock {
                resnets: (0..config.layers_per_block + 1).map(resnet).collect::<Result<_>>()?,
                upsampler: (i + 1 < channels.len()).then(|| b.conv("upsamplers.0.conv", upsampler)).transpose()?,
            });
            inputs = outputs;
        }
        Ok(Self {
            conv_in: b.conv("conv_in", ConvShape::same(config.latent_channels, last, 3))?,
            mid_block: MidBlock::new(&b.pp("mid_block"), resnet_shape(config, last, last), config.mid_block_add_attention)?,
            up_blocks,
            conv_norm_out: b.group_norm("conv_norm_out", first, config.norm_num_groups, super::EPS)?,
            conv_out: b.conv("conv_out", ConvShape::same(first, config.out_channels, 3))?,
        })
    }

    /// z (B, h, w, latent_channels) -> (B, H, W, 3).
    pub fn forward(&self, z: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let mut x = self.mid_block.forward(&self.conv_in.forward(z)?)?;
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                cancel.check()?;
                x = resnet.forward(&x, None, None)?;
            }
            if let Some(upsampler) = &block.upsampler {
                x = upsampler.forward_upsampled(&x, (2 * x.dim(1)?, 2 * x.dim(2)?), &Epilogue::default())?;
            }
        }
        cancel.check()?;
        Ok(self.conv_out.forward(&self.conv_norm_out.forward(&x, Some(Activation::Silu))?)?)
    }
}
