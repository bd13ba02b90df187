use super::conditioning::TimeEmbedding;
use crate::error::Result;
use crate::load::{Bias, Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue, GroupNorm, Linear};

/// GroupNorm whose scale and shift come from the time embedding. Source: diffusers normalization.py `AdaGroupNorm`.
pub(crate) struct AdaGroupNorm {
    norm: GroupNorm,
    linear: Linear,
}

impl AdaGroupNorm {
    pub fn new(b: &Builder, time_width: usize, channels: usize, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self { norm: b.plain_group_norm(channels, groups, eps)?, linear: b.linear("linear", time_width, 2 * channels, Bias::Yes)? })
    }

    /// x (B, H, W, C) -> (B, H, W, C).
    pub fn forward(&self, x: &Tensor, time: &TimeEmbedding, activation: Option<Activation>) -> Result<Tensor> {
        let halves = self.linear.forward(&time.raw.narrow(0, 0, x.dim(0)?)?)?.chunk(2, 1)?;
        Ok(self.norm.forward_scale_shift(x, &halves[0].contiguous()?, &halves[1].contiguous()?, activation)?)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct KResnetShape {
    pub inputs: usize,
    /// Channels between the convolutions.
    pub hidden: usize,
    pub outputs: usize,
    pub time_width: usize,
    /// Channels per group of the normalisations.
    pub group_size: usize,
    pub eps: f64,
    pub activation: Activation,
}

/// The resnet of the K-blocks. Source: diffusers resnet.py `ResnetBlockCondNorm2D` with `ada_group`.
pub(crate) struct KResnet {
    norm1: AdaGroupNorm,
    conv1: Conv2d,
    norm2: AdaGroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    activation: Activation,
}

impl KResnet {
    pub fn new(b: &Builder, shape: KResnetShape) -> Result<Self> {
        let KResnetShape { inputs, hidden, outputs, time_width, group_size, eps, activation } = shape;
        let shortcut = ConvShape::same(inputs, outputs, 1).bias(Bias::No);
        Ok(Self {
            norm1: AdaGroupNorm::new(&b.pp("norm1"), time_width, inputs, inputs / group_size, eps)?,
            conv1: b.conv("conv1", ConvShape::same(inputs, hidden, 3))?,
            norm2: AdaGroupNorm::new(&b.pp("norm2"), time_width, hidden, hidden / group_size, eps)?,
            conv2: b.conv("conv2", ConvShape::same(hidden, outputs, 3))?,
            conv_shortcut: (inputs != outputs).then(|| b.conv("conv_shortcut", shortcut)).transpose()?,
            activation,
        })
    }

    /// x (B, H, W, inputs) -> (B, H, W, outputs).
    pub fn forward(&self, x: &Tensor, time: &TimeEmbedding) -> Result<Tensor> {
        let hidden = self.conv1.forward(&self.norm1.forward(x, time, Some(self.activation))?)?;
        let hidden = self.norm2.forward(&hidden, time, Some(self.activation))?;
        let shortcut = self.conv_shortcut.as_ref().map(|conv| conv.forward(x)).transpose()?;
        let residual = Some(shortcut.as_ref().unwrap_or(x));
        Ok(self.conv2.forward_with(&hidden, &Epilogue { residual, ..Default::default() })?)
    }
}
