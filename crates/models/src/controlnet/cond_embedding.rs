use super::config::ControlNetConfig;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue, Padding};

/// The control image at the size of the latents. Source: diffusers controlnet.py `ControlNetConditioningEmbedding`.
pub(super) struct CondEmbedding {
    convs: Vec<Conv2d>,
    conv_out: Conv2d,
    factor: usize,
}

impl CondEmbedding {
    pub fn new(b: &Builder, config: &ControlNetConfig) -> Result<Self> {
        let b = b.pp("controlnet_cond_embedding");
        let channels = &config.conditioning_embedding_out_channels;
        let mut convs = vec![b.conv("conv_in", ConvShape::same(config.conditioning_channels, channels[0], 3))?];
        for (i, pair) in channels.windows(2).enumerate() {
            convs.push(b.conv(&format!("blocks.{}", 2 * i), ConvShape::same(pair[0], pair[0], 3))?);
            convs.push(b.conv(&format!("blocks.{}", 2 * i + 1), ConvShape::same(pair[0], pair[1], 3).stride(2).padding(Padding::Same(1)))?);
        }
        let conv_out = b.conv("conv_out", ConvShape::same(channels[channels.len() - 1], config.unet.block_out_channels[0], 3))?;
        Ok(Self { convs, conv_out, factor: 1 << (channels.len() - 1).min(30) })
    }

    /// Pixels of the control image per latent.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// image (B, H, W, 3), added to `residual` (B, h, w, C) when there is one -> (B, h, w, C).
    pub fn forward(&self, image: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let mut x = image.clone();
        for conv in &self.convs {
            x = conv.forward_with(&x, &Epilogue { activation: Some(Activation::Silu), ..Default::default() })?;
        }
        Ok(self.conv_out.forward_with(&x, &Epilogue { residual, ..Default::default() })?)
    }
}
