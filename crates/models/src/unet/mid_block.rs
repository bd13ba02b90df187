use super::block_kind::MidKind;
use super::block_shape::BlockShape;
use super::layer::{Layer, LayerAttention, LayerResnet};
use crate::adapters::MotionPlace;
use crate::blocks::conditioning::Conditioning;
use crate::blocks::kv_cache::Slots;
use crate::blocks::resnet::{ResnetBlock, ResnetShape};
use crate::error::Result;
use crate::load::Builder;
use candle_core::Tensor;

/// The block between the two halves. Source: diffusers unet_2d_blocks.py `UNetMidBlock2DCrossAttn`, `UNetMidBlock2DSimpleCrossAttn`, `UNetMidBlock2D`.
pub(crate) struct MidBlock {
    first: Layer,
    second: Option<ResnetBlock>,
}

impl MidBlock {
    pub fn new(b: &Builder, shape: &BlockShape, kind: MidKind, channels: usize, slots: &Slots) -> Result<Self> {
        let config = shape.config;
        let resnet = ResnetShape {
            output_scale: config.mid_block_scale_factor,
            skip_time_act: kind == MidKind::SimpleCrossAttn && config.resnet_skip_time_act,
            ..shape.resnet(channels, channels)?
        };
        let attention: Option<LayerAttention> = match kind {
            MidKind::Plain => None,
            MidKind::CrossAttn => {
                let depth = config.transformer_layers_per_block[shape.level].first().copied().unwrap_or(1);
                Some(shape.transformer(b, 0, channels, depth, slots)?)
            }
            MidKind::SimpleCrossAttn => Some(shape.added_kv(b, 0, channels, slots)?),
        };
        let second = attention.is_some().then(|| ResnetBlock::new(&b.pp("resnets.1"), resnet)).transpose()?;
        let first = LayerResnet::Plain(ResnetBlock::new(&b.pp("resnets.0"), resnet)?);
        Ok(Self { first: Layer { resnet: first, attention }, second })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, cond: &Conditioning) -> Result<Tensor> {
        let hidden = self.first.forward(x, None, cond)?;
        match &self.second {
            Some(resnet) => resnet.forward(&cond.after_layer(MotionPlace::Mid, hidden)?, None, Some(cond.time)),
            None => Ok(hidden),
        }
    }
}
