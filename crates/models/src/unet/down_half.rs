use super::block_kind::MidKind;
use super::block_shape::BlockShape;
use super::config::UNetConfig;
use super::down_block::{DownBlock, DownPlace};
use super::input::UNetInput;
use super::mid_block::MidBlock;
use super::time_text::TimeAndText;
use crate::blocks::conditioning::{Conditioning, TimeEmbedding};
use crate::blocks::kv_cache::Slots;
use crate::blocks::transformer::FirstAttention;
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::{DType, Tensor};
use nd_kernels::{nchw_to_nhwc, Conv2d};

/// Added to the scores of dropped tokens. Source: diffusers unet_2d_condition.py `forward`.
const DROPPED: f64 = -10000.0;

/// The descending half of a UNet, which a ControlNet has too: first convolution, time embedding, down blocks.
pub(crate) struct DownHalf {
    conv_in: Conv2d,
    time: TimeAndText,
    blocks: Vec<DownBlock>,
}

impl DownHalf {
    pub fn new(b: &Builder, config: &UNetConfig, slots: &Slots) -> Result<Self> {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let mut inputs = channels[0];
        let mut blocks = Vec::with_capacity(channels.len());
        for (level, &kind) in config.down_block_types.iter().enumerate() {
            let shape = BlockShape { config, level, head_width: config.attention_head_dim[level], first: first_attention(config, level) };
            let place = DownPlace { kind, inputs, outputs: channels[level], is_last: level == last };
            blocks.push(DownBlock::new(&b.pp(format!("down_blocks.{level}")), &shape, place, slots)?);
            inputs = channels[level];
        }
        let conv_in = b.conv("conv_in", ConvShape::same(config.in_channels, channels[0], config.conv_in_kernel))?;
        Ok(Self { conv_in, time: TimeAndText::new(b, config)?, blocks })
    }

    /// The block between the halves, when the config has one.
    pub fn mid_block(b: &Builder, config: &UNetConfig, slots: &Slots) -> Result<Option<MidBlock>> {
        let Some(kind) = config.mid_block_type else { return Ok(None) };
        let level = config.block_out_channels.len() - 1;
        let first = match (kind, config.mid_block_only_cross_attention) {
            (MidKind::SimpleCrossAttn, true) => FirstAttention::Prompt,
            _ => FirstAttention::Image,
        };
        let shape = BlockShape { config, level, head_width: config.attention_head_dim[level], first };
        MidBlock::new(&b.pp("mid_block"), &shape, kind, config.block_out_channels[level], slots).map(Some)
    }

    /// The time embedding of a call.
    pub fn time(&self, input: &UNetInput, batch: usize) -> Result<TimeEmbedding> {
        self.time.forward(input, batch)
    }

    /// The first convolution; sample (B, C, H, W) -> (B, H, W, C').
    pub fn start(&self, sample: &Tensor, config: &UNetConfig) -> Result<Tensor> {
        let mut x = as_image(sample)?;
        if config.center_input_sample {
            x = ((x * 2.0)? - 1.0)?;
        }
        Ok(self.conv_in.forward(&x)?)
    }

    /// x (B, H, W, C), or its distinct samples alone -> the output of the last block and the residuals of all, x first. `features` are T2I-Adapter's,
    /// last one first.
    pub fn forward(&self, x: Tensor, cond: &Conditioning, features: &mut Vec<Tensor>) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let mut residuals = vec![Some(x.clone())];
        let mut x = x;
        for block in &self.blocks {
            let (next, own) = block.forward(&x, cond, features.pop().as_ref())?;
            x = next;
            residuals.extend(own);
        }
        let residuals = residuals.into_iter().map(|residual| residual.map(|own| cond.all(&own)).transpose()).collect::<Result<_>>()?;
        Ok((cond.all(&x)?, residuals))
    }
}

pub(super) fn first_attention(config: &UNetConfig, level: usize) -> FirstAttention {
    if config.only_cross_attention[level] {
        return FirstAttention::Prompt;
    }
    FirstAttention::Image
}

/// (B, C, H, W) of any float dtype -> (B, H, W, C) in f32.
pub(crate) fn as_image(tensor: &Tensor) -> Result<Tensor> {
    Ok(nchw_to_nhwc(&tensor.to_dtype(DType::F32)?.contiguous()?)?)
}

/// Mask (B, S) of 1 and 0 -> additive bias (B, 1, 1, S).
pub(crate) fn attention_bias(mask: &Tensor) -> Result<Tensor> {
    let (batch, tokens) = mask.dims2()?;
    let dropped = (1.0 - mask.to_dtype(DType::F32)?)?;
    Ok((dropped * DROPPED)?.reshape((batch, 1, 1, tokens))?)
}
