use super::block_kind::DownKind;
use super::block_shape::BlockShape;
use super::layer::Layer;
use crate::adapters::MotionPlace;
use crate::blocks::conditioning::Conditioning;
use crate::blocks::k_resample::k_downsample;
use crate::blocks::kv_cache::Slots;
use crate::blocks::resnet::{Resample, ResnetBlock, ResnetShape};
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Conv2d, Padding};

/// What makes the image smaller at the end of a block.
enum Downsampler {
    Conv(Conv2d),
    Resnet(Box<ResnetBlock>),
    K,
}

/// A block of the descending half. Source: diffusers unet_2d_blocks.py `CrossAttnDownBlock2D`, `DownBlock2D`, `SimpleCrossAttnDownBlock2D`,
/// `ResnetDownsampleBlock2D`, `KCrossAttnDownBlock2D`, `KDownBlock2D`.
pub(crate) struct DownBlock {
    kind: DownKind,
    /// Position among the down blocks.
    index: usize,
    layers: Vec<Layer>,
    downsampler: Option<Downsampler>,
}

/// Where a down block stands in the model.
#[derive(Clone, Copy)]
pub(crate) struct DownPlace {
    pub kind: DownKind,
    pub inputs: usize,
    pub outputs: usize,
    pub is_last: bool,
}

impl DownBlock {
    pub fn new(b: &Builder, shape: &BlockShape, place: DownPlace, slots: &Slots) -> Result<Self> {
        let DownPlace { kind, inputs, outputs, is_last } = place;
        let config = shape.config;
        let depths = &config.transformer_layers_per_block[shape.level];
        let layer = |i: usize| -> Result<Layer> {
            let inputs = if i == 0 { inputs } else { outputs };
            let mut layer = match kind {
                DownKind::Plain | DownKind::CrossAttn => shape.plain_layer(b, i, shape.resnet(inputs, outputs)?)?,
                DownKind::Resnet | DownKind::SimpleCrossAttn => shape.plain_layer(b, i, shape.simple_resnet(inputs, outputs)?)?,
                DownKind::K | DownKind::KCrossAttn => Layer { resnet: shape.k_resnet(b, i, inputs, outputs, outputs)?, attention: None },
            };
            layer.attention = match kind {
                DownKind::CrossAttn => Some(shape.transformer(b, i, outputs, depths[i], slots)?),
                DownKind::SimpleCrossAttn => Some(shape.added_kv(b, i, outputs, slots)?),
                DownKind::KCrossAttn => Some(shape.k_attention(b, i, outputs, is_last, slots)?),
                DownKind::Plain | DownKind::Resnet | DownKind::K => None,
            };
            Ok(layer)
        };
        let layers = (0..config.layers_per_block[shape.level]).map(layer).collect::<Result<_>>()?;
        let downsampler = (!is_last).then(|| Self::downsampler(b, shape, kind, outputs)).transpose()?;
        Ok(Self { kind, index: shape.level, layers, downsampler })
    }

    fn downsampler(b: &Builder, shape: &BlockShape, kind: DownKind, channels: usize) -> Result<Downsampler> {
        Ok(match kind {
            DownKind::Plain | DownKind::CrossAttn => {
                Downsampler::Conv(b.conv("downsamplers.0.conv", strided(channels, shape.config.downsample_padding))?)
            }
            DownKind::Resnet | DownKind::SimpleCrossAttn => {
                let shape = ResnetShape { resample: Resample::Down, ..shape.simple_resnet(channels, channels)? };
                Downsampler::Resnet(Box::new(ResnetBlock::new(&b.pp("downsamplers.0"), shape)?))
            }
            DownKind::K | DownKind::KCrossAttn => Downsampler::K,
        })
    }

    /// x (B, H, W, C) -> the block's output and its residuals for the ascending half; `extra` is a T2I-Adapter feature (B, H', W', C').
    pub fn forward(&self, x: &Tensor, cond: &Conditioning, extra: Option<&Tensor>) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let mut x = x.clone();
        let mut residuals = Vec::with_capacity(self.layers.len() + 1);
        let has_attention = self.layers.iter().any(|layer| layer.attention.is_some());
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers.iter().enumerate() {
            x = cond.after_layer(MotionPlace::Down(self.index, i), layer.forward(&x, None, cond)?)?;
            if let (Some(extra), true) = (extra, has_attention && i == last) {
                x = (cond.all(&x)? + extra)?;
            }
            residuals.push(Some(x.clone()));
        }
        match &self.downsampler {
            None => {}
            Some(Downsampler::Conv(conv)) => {
                x = conv.forward(&x)?;
                residuals.push(Some(x.clone()));
            }
            Some(Downsampler::Resnet(resnet)) => {
                x = resnet.forward(&x, None, Some(cond.time))?;
                residuals.push(Some(x.clone()));
            }
            Some(Downsampler::K) => x = k_downsample(&x)?,
        }
        if let (Some(extra), false) = (extra, has_attention) {
            x = (cond.all(&x)? + extra)?;
            if self.kind != DownKind::K || self.downsampler.is_none() {
                residuals.pop();
                residuals.push(Some(x.clone()));
            }
        }
        if self.kind == DownKind::KCrossAttn && self.downsampler.is_none() {
            residuals.fill(None);
        }
        Ok((x, residuals))
    }
}

/// The 3x3 convolution with stride 2; padding 0 in a config means one row and column of zeros at the bottom and right.
/// Source: diffusers downsampling.py `Downsample2D`.
pub(crate) fn strided(channels: usize, padding: usize) -> ConvShape {
    let padding = match padding {
        0 => Padding::Asymmetric { top: 0, left: 0, bottom: 1, right: 1 },
        padding => Padding::Same(padding),
    };
    ConvShape::same(channels, channels, 3).stride(2).padding(padding)
}
