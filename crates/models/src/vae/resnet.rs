use super::coder::CoderShape;
use super::norm::{Norm, NormKind};
use super::EPS;
use crate::blocks::resnet::{Resample, ResnetBlock, ResnetShape, TimeShift};
use crate::error::Result;
use crate::load::{Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue};

/// A resnet of an autoencoder.
pub(super) enum Resnet {
    Plain(Box<ResnetBlock>),
    Spatial(Box<SpatialResnet>),
}

impl Resnet {
    pub fn new(b: &Builder, shape: &CoderShape, (inputs, outputs): (usize, usize)) -> Result<Self> {
        if matches!(shape.norm, NormKind::Spatial(_)) {
            return Ok(Self::Spatial(Box::new(SpatialResnet::new(b, shape, (inputs, outputs))?)));
        }
        let shape = ResnetShape {
            inputs,
            outputs,
            time_width: None,
            time_shift: TimeShift::Default,
            skip_time_act: false,
            groups: shape.groups,
            eps: EPS,
            activation: shape.activation,
            output_scale: 1.0,
            resample: Resample::Keep,
        };
        Ok(Self::Plain(Box::new(ResnetBlock::new(b, shape)?)))
    }

    /// x (B, H, W, inputs), of which there is no other share, -> (B, H, W, outputs); `latents` (B, h, w, L) is what spatial norms read.
    pub fn forward(&self, x: Tensor, latents: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Plain(resnet) => resnet.forward_owned(x),
            Self::Spatial(resnet) => resnet.forward(&x, latents),
        }
    }
}

/// Two convolutions after spatial norms, with a shortcut. Source: diffusers resnet.py `ResnetBlockCondNorm2D`.
pub(super) struct SpatialResnet {
    norm1: Norm,
    conv1: Conv2d,
    norm2: Norm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    activation: Activation,
}

impl SpatialResnet {
    fn new(b: &Builder, shape: &CoderShape, (inputs, outputs): (usize, usize)) -> Result<Self> {
        Ok(Self {
            norm1: Norm::new(b, "norm1", inputs, shape)?,
            conv1: b.conv("conv1", ConvShape::same(inputs, outputs, 3))?,
            norm2: Norm::new(b, "norm2", outputs, shape)?,
            conv2: b.conv("conv2", ConvShape::same(outputs, outputs, 3))?,
            conv_shortcut: (inputs != outputs).then(|| b.conv("conv_shortcut", ConvShape::same(inputs, outputs, 1))).transpose()?,
            activation: shape.activation,
        })
    }

    fn forward(&self, x: &Tensor, latents: Option<&Tensor>) -> Result<Tensor> {
        let hidden = self.conv1.forward(&self.norm1.forward(x, latents, Some(self.activation))?)?;
        let hidden = self.norm2.forward(&hidden, latents, Some(self.activation))?;
        let shortcut = self.conv_shortcut.as_ref().map(|conv| conv.forward(x)).transpose()?;
        let residual = Some(shortcut.as_ref().unwrap_or(x));
        Ok(self.conv2.forward_with(&hidden, &Epilogue { residual, ..Default::default() })?)
    }
}
