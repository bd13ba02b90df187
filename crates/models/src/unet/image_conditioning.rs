use super::down_half::as_image;
use super::input::UNetInput;
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder, ConvShape};
use candle_core::{DType, Tensor};
use nd_kernels::{nhwc_to_nchw, Activation, Conv2d, Epilogue, LayerNorm, Linear, Padding};

/// Tokens that an image embedding becomes. Source: diffusers embeddings.py `ImageProjection`, `num_image_text_embeds`.
pub(crate) const IMAGE_TOKENS: usize = 32;
/// Channels that a hint becomes. Source: diffusers embeddings.py `ImageHintTimeEmbedding`.
pub(crate) const HINT_CHANNELS: usize = 4;
/// Pixels of a hint per latent, in each direction.
const HINT_FACTOR: usize = 8;
/// (channels in, channels out, stride) of the hint's convolutions.
const HINT_CONVOLUTIONS: [(usize, usize, usize); 8] =
    [(3, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 96, 2), (96, 96, 1), (96, 256, 2), (256, HINT_CHANNELS, 1)];

/// An image embedding as tokens for the cross-attention layers. Source: diffusers embeddings.py `ImageProjection`.
pub(crate) struct ImageProjection {
    image_embeds: Linear,
    norm: LayerNorm,
    width: usize,
}

impl ImageProjection {
    pub fn new(b: &Builder, inputs: usize, width: usize) -> Result<Self> {
        Ok(Self { image_embeds: b.linear("image_embeds", inputs, IMAGE_TOKENS * width, Bias::Yes)?, norm: b.layer_norm("norm", width, 1e-5)?, width })
    }

    /// embeds (B, inputs) -> (B, IMAGE_TOKENS, width).
    pub fn forward(&self, embeds: &Tensor) -> Result<Tensor> {
        let tokens = self.image_embeds.forward(embeds)?.reshape((embeds.dim(0)?, IMAGE_TOKENS, self.width))?;
        Ok(self.norm.forward(&tokens)?)
    }
}

/// Makes a picture, such as a depth map, further input channels. Source: diffusers embeddings.py `ImageHintTimeEmbedding`.
pub(crate) struct HintBlock {
    convolutions: Vec<Conv2d>,
}

impl HintBlock {
    pub fn new(b: &Builder) -> Result<Self> {
        let conv = |(i, &(inputs, outputs, stride)): (usize, &(usize, usize, usize))| {
            b.conv(&(2 * i).to_string(), ConvShape::same(inputs, outputs, 3).stride(stride).padding(Padding::Same(1)))
        };
        Ok(Self { convolutions: HINT_CONVOLUTIONS.iter().enumerate().map(conv).collect::<Result<_>>()? })
    }

    /// The sample (B, C, H, W) with the hint beside it (B, C + HINT_CHANNELS, H, W). Errors: no hint, or one of another size.
    pub fn beside(&self, input: &UNetInput) -> Result<Tensor> {
        let need = || ModelError::argument("hint", "a tensor, because addition_embed_type is image_hint,", "nothing");
        let hint = input.hint.ok_or_else(need)?;
        let (batch, _, height, width) = input.sample.dims4()?;
        let wanted = [batch, 3, HINT_FACTOR * height, HINT_FACTOR * width];
        if hint.dims() != wanted {
            return Err(ModelError::shape("hint", format!("shape {wanted:?}"), hint));
        }
        let mut x = as_image(hint)?;
        for (i, conv) in self.convolutions.iter().enumerate() {
            let activation = (i + 1 < self.convolutions.len()).then_some(Activation::Silu);
            x = conv.forward_with(&x, &Epilogue { activation, ..Default::default() })?;
        }
        Ok(Tensor::cat(&[&input.sample.to_dtype(DType::F32)?, &nhwc_to_nchw(&x)?], 1)?)
    }
}
