use super::block_kind::UpKind;
use super::block_shape::BlockShape;
use super::free_u::FreeU;
use super::layer::Layer;
use crate::adapters::MotionPlace;
use crate::blocks::conditioning::Conditioning;
use crate::blocks::k_resample::k_upsample;
use crate::blocks::kv_cache::Slots;
use crate::blocks::resnet::{Resample, ResnetBlock, ResnetShape};
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Conv2d, Epilogue};

/// What makes the image larger at the end of a block.
enum Upsampler {
    Conv(Conv2d),
    Resnet(Box<ResnetBlock>),
    K,
}

/// A block of the ascending half. Source: diffusers unet_2d_blocks.py `CrossAttnUpBlock2D`, `UpBlock2D`, `SimpleCrossAttnUpBlock2D`,
/// `ResnetUpsampleBlock2D`, `KCrossAttnUpBlock2D`, `KUpBlock2D`.
pub(crate) struct UpBlock {
    kind: UpKind,
    /// Position among the up blocks.
    index: usize,
    layers: Vec<Layer>,
    upsampler: Option<Upsampler>,
}

/// Where an up block stands in the model.
#[derive(Clone, Copy)]
pub(crate) struct UpPlace {
    pub kind: UpKind,
    /// Channels of the next block, and of the last residual.
    pub inputs: usize,
    pub outputs: usize,
    /// Channels that the block before delivers.
    pub previous: usize,
    pub is_last: bool,
    /// Position among the up blocks.
    pub index: usize,
}

impl UpBlock {
    pub fn new(b: &Builder, shape: &BlockShape, place: UpPlace, slots: &Slots) -> Result<Self> {
        let UpPlace { kind, outputs, .. } = place;
        let count = shape.config.layers_per_block[shape.level] + 1;
        let layers = match kind {
            UpKind::K | UpKind::KCrossAttn => (0..count - 1).map(|i| Self::k_layer(b, shape, place, (i, count - 1), slots)).collect::<Result<_>>()?,
            _ => (0..count).map(|i| Self::layer(b, shape, place, (i, count), slots)).collect::<Result<_>>()?,
        };
        let upsampler = (!place.is_last).then(|| Self::upsampler(b, shape, kind, outputs)).transpose()?;
        Ok(Self { kind, index: place.index, layers, upsampler })
    }

    fn layer(b: &Builder, shape: &BlockShape, place: UpPlace, (i, count): (usize, usize), slots: &Slots) -> Result<Layer> {
        let outputs = place.outputs;
        let skip = if i == count - 1 { place.inputs } else { outputs };
        let inputs = skip + if i == 0 { place.previous } else { outputs };
        let is_simple = matches!(place.kind, UpKind::Resnet | UpKind::SimpleCrossAttn);
        let resnet = if is_simple { shape.simple_resnet(inputs, outputs)? } else { shape.resnet(inputs, outputs)? };
        let mut layer = shape.plain_layer(b, i, resnet)?;
        layer.attention = match place.kind {
            UpKind::CrossAttn => Some(shape.transformer(b, i, outputs, shape.config.up_transformer_layers[place.index][i], slots)?),
            UpKind::SimpleCrossAttn => Some(shape.added_kv(b, i, outputs, slots)?),
            _ => None,
        };
        Ok(layer)
    }

    fn k_layer(b: &Builder, shape: &BlockShape, place: UpPlace, (i, count): (usize, usize), slots: &Slots) -> Result<Layer> {
        let UpPlace { kind, inputs, outputs, .. } = place;
        let is_final = i == count - 1;
        let is_first_block = kind == UpKind::KCrossAttn && inputs == outputs && outputs == shape.config.block_time_width();
        let first_inputs = if is_first_block { outputs } else { 2 * outputs };
        let layer_inputs = if i == 0 { first_inputs } else { outputs };
        let delivered = if is_final { inputs } else { outputs };
        let hidden = if kind == UpKind::KCrossAttn { outputs } else { delivered };
        let attention = match kind {
            UpKind::KCrossAttn => Some(shape.k_attention(b, i, delivered, is_first_block, slots)?),
            _ => None,
        };
        Ok(Layer { resnet: shape.k_resnet(b, i, layer_inputs, hidden, delivered)?, attention })
    }

    fn upsampler(b: &Builder, shape: &BlockShape, kind: UpKind, channels: usize) -> Result<Upsampler> {
        Ok(match kind {
            UpKind::Plain | UpKind::CrossAttn => Upsampler::Conv(b.conv("upsamplers.0.conv", ConvShape::same(channels, channels, 3))?),
            UpKind::Resnet | UpKind::SimpleCrossAttn => {
                let shape = ResnetShape { resample: Resample::Up, ..shape.simple_resnet(channels, channels)? };
                Upsampler::Resnet(Box::new(ResnetBlock::new(&b.pp("upsamplers.0"), shape)?))
            }
            UpKind::K | UpKind::KCrossAttn => Upsampler::K,
        })
    }

    /// How many residuals of the descending half the block takes.
    pub fn residuals(&self) -> usize {
        self.layers.len()
    }

    /// x (B, H, W, C) and the block's residuals, last one first used, each freed after that -> (B, H', W', C'). `size` is the (height, width) to reach when doubling
    /// does not hit the size of the next residual; `free_u` scales (backbone, skip) of this block.
    pub fn forward(
        &self,
        mut x: Tensor,
        mut residuals: Vec<Option<Tensor>>,
        cond: &Conditioning,
        size: Option<(usize, usize)>,
        free_u: Option<FreeU>,
    ) -> Result<Tensor> {
        let is_k = matches!(self.kind, UpKind::K | UpKind::KCrossAttn);
        let free_u = free_u.filter(|_| matches!(self.kind, UpKind::Plain | UpKind::CrossAttn));
        for (i, layer) in self.layers.iter().enumerate() {
            let skip = residuals.pop().flatten().filter(|_| !is_k || i == 0);
            x = match (free_u, &skip) {
                (Some(free_u), Some(skip)) => {
                    let (backbone, filtered) = free_u.apply(&x, skip)?;
                    layer.forward(&backbone, Some(&filtered), cond)?
                }
                _ => layer.forward(&x, skip.as_ref(), cond)?,
            };
            x = cond.after_layer(MotionPlace::Up(self.index, i), x)?;
        }
        match &self.upsampler {
            None => Ok(x),
            Some(Upsampler::Conv(conv)) => {
                let size = size.unwrap_or((2 * x.dim(1)?, 2 * x.dim(2)?));
                Ok(conv.forward_upsampled(&x, size, &Epilogue::default())?)
            }
            Some(Upsampler::Resnet(resnet)) => resnet.forward(&x, None, Some(cond.time)),
            Some(Upsampler::K) => k_upsample(&x),
        }
    }
}
