use super::conditioning::TimeEmbedding;
use super::resample::{double_nearest, halve_average};
use crate::error::Result;
use crate::load::{Bias, Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Activation, Conv2d, Epilogue, GroupNorm, Linear};

/// How the time embedding enters a resnet (`resnet_time_scale_shift`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum TimeShift {
    /// Added after the first convolution.
    Default,
    /// Scales and shifts the second normalisation.
    ScaleShift,
}

/// What a resnet does to the size of the image.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Resample {
    Keep,
    Up,
    Down,
}

#[derive(Clone, Copy)]
pub(crate) struct ResnetShape {
    pub inputs: usize,
    pub outputs: usize,
    /// Width of the time embedding; `None` in autoencoders.
    pub time_width: Option<usize>,
    pub time_shift: TimeShift,
    /// Which form of the embedding is projected (`resnet_skip_time_act`).
    pub skip_time_act: bool,
    pub groups: usize,
    pub eps: f64,
    pub activation: Activation,
    pub output_scale: f64,
    pub resample: Resample,
}

/// Two convolutions with a shortcut. Source: diffusers resnet.py `ResnetBlock2D`.
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    shape: ResnetShape,
}

impl ResnetBlock {
    pub fn new(b: &Builder, shape: ResnetShape) -> Result<Self> {
        let ResnetShape { inputs, outputs, groups, eps, .. } = shape;
        let projected = if shape.time_shift == TimeShift::ScaleShift { 2 * outputs } else { outputs };
        // Those without time belong to autoencoders, whose errors are seen as they are.
        let products = if shape.time_width.is_some() { b.in_bytes() } else { b.clone() };
        Ok(Self {
            norm1: b.group_norm("norm1", inputs, groups, eps)?,
            conv1: products.conv("conv1", ConvShape::same(inputs, outputs, 3))?,
            time_emb_proj: shape.time_width.map(|width| b.linear("time_emb_proj", width, projected, Bias::Yes)).transpose()?,
            norm2: b.group_norm("norm2", outputs, groups, eps)?,
            conv2: products.conv("conv2", ConvShape::same(outputs, outputs, 3))?,
            conv_shortcut: (inputs != outputs).then(|| b.conv("conv_shortcut", ConvShape::same(inputs, outputs, 1))).transpose()?,
            shape,
        })
    }

    /// x (B, H, W, C), read together with the channels of `skip` when there is one -> (B, H', W', outputs).
    pub fn forward(&self, x: &Tensor, skip: Option<&Tensor>, time: Option<&TimeEmbedding>) -> Result<Tensor> {
        let activation = Some(self.shape.activation);
        let normed = match skip {
            Some(skip) => self.norm1.forward_concat(x, skip, activation)?,
            None => self.norm1.forward(x, activation)?,
        };
        let projected = self.project_time(time, x.dim(0)?)?;
        let per_sample = projected.as_ref().filter(|_| self.shape.time_shift == TimeShift::Default);
        // Overwritten, not shadowed: images that are no longer read are freed before the next one is made.
        let mut hidden = self.first_convolution(&normed, &Epilogue { per_sample, ..Default::default() })?;
        drop(normed);
        hidden = match (&projected, self.shape.time_shift) {
            (Some(time), TimeShift::ScaleShift) => {
                let halves = time.chunk(2, 1)?;
                self.norm2.forward_scale_shift(&hidden, &halves[0].contiguous()?, &halves[1].contiguous()?, activation)?
            }
            _ => self.norm2.forward_in_place(hidden, activation)?,
        };
        let shortcut = self.shortcut(x, skip)?;
        self.second_convolution(&hidden, shortcut.as_ref().unwrap_or(x))
    }

    /// As `forward` without skip and time, for the last reader of x: where only the shortcut reads x again, that comes first, and x's memory is written over.
    pub fn forward_owned(&self, x: Tensor) -> Result<Tensor> {
        let own = self.conv_shortcut.as_ref().filter(|_| self.shape.resample == Resample::Keep);
        let Some(shortcut) = own.map(|conv| conv.forward(&x)).transpose()? else { return self.forward(&x, None, None) };
        let activation = Some(self.shape.activation);
        let normed = self.norm1.forward_in_place(x, activation)?;
        let hidden = self.first_convolution(&normed, &Epilogue::default())?;
        drop(normed);
        let hidden = self.norm2.forward_in_place(hidden, activation)?;
        self.second_convolution(&hidden, &shortcut)
    }

    /// For the first `samples`.
    fn project_time(&self, time: Option<&TimeEmbedding>, samples: usize) -> Result<Option<Tensor>> {
        let (Some(projection), Some(time)) = (&self.time_emb_proj, time) else { return Ok(None) };
        let embedding = if self.shape.skip_time_act { &time.raw } else { &time.activated };
        Ok(Some(projection.forward(&embedding.narrow(0, 0, samples)?)?))
    }

    fn first_convolution(&self, x: &Tensor, epilogue: &Epilogue) -> Result<Tensor> {
        Ok(match self.shape.resample {
            Resample::Keep => self.conv1.forward_with(x, epilogue)?,
            Resample::Up => self.conv1.forward_upsampled(x, (2 * x.dim(1)?, 2 * x.dim(2)?), epilogue)?,
            Resample::Down => self.conv1.forward_with(&halve_average(x)?, epilogue)?,
        })
    }

    fn second_convolution(&self, hidden: &Tensor, shortcut: &Tensor) -> Result<Tensor> {
        let scale = self.shape.output_scale.recip();
        let scaled = (scale != 1.0).then(|| shortcut * scale).transpose()?;
        let residual = Some(scaled.as_ref().unwrap_or(shortcut));
        Ok(self.conv2.forward_with(hidden, &Epilogue { residual, scale: scale as f32, ..Default::default() })?)
    }

    /// The input as the shortcut delivers it, `None` when that is `x` itself.
    fn shortcut(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Option<Tensor>> {
        let resampled = match (self.shape.resample, skip) {
            (Resample::Keep, Some(skip)) => {
                return Ok(Some(match &self.conv_shortcut {
                    Some(conv) => conv.forward_concat(x, skip, &Epilogue::default())?,
                    None => Tensor::cat(&[x, skip], 3)?,
                }));
            }
            (Resample::Keep, None) => None,
            (Resample::Up, _) => Some(double_nearest(x)?),
            (Resample::Down, _) => Some(halve_average(x)?),
        };
        match &self.conv_shortcut {
            Some(conv) => Ok(Some(conv.forward(resampled.as_ref().unwrap_or(x))?)),
            None => Ok(resampled),
        }
    }
}
