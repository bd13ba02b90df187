use crate::blocks::added_kv_attention::AddedKvAttention;
use crate::blocks::conditioning::Conditioning;
use crate::blocks::k_attention::KAttention;
use crate::blocks::k_resnet::KResnet;
use crate::blocks::resnet::ResnetBlock;
use crate::blocks::transformer::Transformer2D;
use crate::error::Result;
use candle_core::Tensor;

/// The resnet of a layer.
pub(crate) enum LayerResnet {
    Plain(ResnetBlock),
    K(KResnet),
}

/// The attention of a layer.
pub(crate) enum LayerAttention {
    Transformer(Box<Transformer2D>),
    AddedKv(Box<AddedKvAttention>),
    K(Box<KAttention>),
}

impl LayerAttention {
    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, cond: &Conditioning) -> Result<Tensor> {
        match self {
            Self::Transformer(attention) => attention.forward(x, cond),
            Self::AddedKv(attention) => attention.forward(x, cond),
            Self::K(attention) => attention.forward(x, cond),
        }
    }
}

/// A resnet and the attention after it.
pub(crate) struct Layer {
    pub resnet: LayerResnet,
    pub attention: Option<LayerAttention>,
}

impl Layer {
    /// x (B, H, W, C), with the channels of `skip` when there is one.
    pub fn forward(&self, x: &Tensor, skip: Option<&Tensor>, cond: &Conditioning) -> Result<Tensor> {
        cond.cancel.check()?;
        let hidden = match (&self.resnet, skip) {
            (LayerResnet::Plain(resnet), skip) => resnet.forward(x, skip, Some(cond.time))?,
            (LayerResnet::K(resnet), None) => resnet.forward(x, cond.time)?,
            (LayerResnet::K(resnet), Some(skip)) => resnet.forward(&Tensor::cat(&[x, skip], 3)?, cond.time)?,
        };
        match &self.attention {
            Some(attention) => attention.forward(&hidden, cond),
            None => Ok(hidden),
        }
    }
}
