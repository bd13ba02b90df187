use super::bilinear::{bilinear, Align};
use super::config::DptConfig;
use crate::error::Result;
use crate::load::{Bias, Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{activation, Activation, Conv2d, Epilogue};

/// Two convolutions around which the input is added. Source: transformers modeling_dpt.py `DPTPreActResidualLayer`.
struct Residual {
    convolution1: Conv2d,
    convolution2: Conv2d,
}

impl Residual {
    fn new(b: &Builder, config: &DptConfig) -> Result<Self> {
        let width = config.fusion_hidden_size;
        let shape = ConvShape::same(width, width, 3).bias(if config.fusion_bias { Bias::Yes } else { Bias::No });
        Ok(Self { convolution1: b.conv("convolution1", shape)?, convolution2: b.conv("convolution2", shape)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let relu = Epilogue { activation: Some(Activation::Relu), ..Default::default() };
        let hidden = self.convolution1.forward_with(&activation(x, Activation::Relu)?, &relu)?;
        Ok(self.convolution2.forward_with(&hidden, &Epilogue { residual: Some(x), ..Default::default() })?)
    }
}

/// Adds a feature map to what came from smaller ones, and doubles the size. Source: transformers modeling_dpt.py `DPTFeatureFusionLayer`.
pub(super) struct Fusion {
    residual_layer1: Residual,
    residual_layer2: Residual,
    projection: Conv2d,
}

impl Fusion {
    pub fn new(b: &Builder, config: &DptConfig) -> Result<Self> {
        let width = config.fusion_hidden_size;
        Ok(Self {
            residual_layer1: Residual::new(&b.pp("residual_layer1"), config)?,
            residual_layer2: Residual::new(&b.pp("residual_layer2"), config)?,
            projection: b.conv("projection", ConvShape::same(width, width, 1))?,
        })
    }

    /// `feature` alone for the smallest map, else fused with what came before; both (B, H, W, C) -> (B, 2 H, 2 W, C).
    pub fn forward(&self, before: Option<&Tensor>, feature: &Tensor) -> Result<Tensor> {
        let x = match before {
            None => feature.clone(),
            Some(before) => {
                let size = (before.dim(1)?, before.dim(2)?);
                (before + self.residual_layer1.forward(&bilinear(feature, size, Align::Edges)?)?)?
            }
        };
        let x = self.residual_layer2.forward(&x)?;
        let doubled = bilinear(&x, (2 * x.dim(1)?, 2 * x.dim(2)?), Align::Corners)?;
        Ok(self.projection.forward(&doubled)?)
    }
}
