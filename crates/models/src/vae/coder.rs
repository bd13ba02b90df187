use super::mid_block::SpatialAttention;
use super::norm::NormKind;
use super::resnet::Resnet;
use crate::error::Result;
use crate::load::Builder;
use candle_core::Tensor;
use nd_kernels::Activation;

/// The layers of an encoder or a decoder; lists are in the order of its blocks' config, decoders reverse the channels.
pub(super) struct CoderShape {
    pub inputs: usize,
    pub outputs: usize,
    /// Of the blocks, largest picture first.
    pub channels: Vec<usize>,
    /// Which blocks have attentions, in the order in which they run.
    pub attention: Vec<bool>,
    /// Layers per block of an encoder; decoders have one more.
    pub layers: usize,
    pub groups: usize,
    pub activation: Activation,
    pub norm: NormKind,
    pub mid_attention: bool,
}

/// A resnet and the attention that some blocks have after it.
pub(super) struct Layer {
    resnet: Resnet,
    attention: Option<SpatialAttention>,
}

impl Layer {
    /// Layer `index` of a block, with (inputs, outputs) channels.
    pub fn new(b: &Builder, index: usize, shape: &CoderShape, channels: (usize, usize), with_attention: bool) -> Result<Self> {
        let attention = || SpatialAttention::new(&b.pp(format!("attentions.{index}")), shape, channels.1);
        Ok(Self { resnet: Resnet::new(&b.pp(format!("resnets.{index}")), shape, channels)?, attention: with_attention.then(attention).transpose()? })
    }

    /// x (B, H, W, C), of which there is no other share, -> (B, H, W, C').
    pub fn forward(&self, x: Tensor, latents: Option<&Tensor>) -> Result<Tensor> {
        let x = self.resnet.forward(x, latents)?;
        match &self.attention {
            Some(attention) => attention.forward(&x, latents),
            None => Ok(x),
        }
    }
}
