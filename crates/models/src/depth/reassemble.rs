use super::config::{DptConfig, Factor, Readout};
use crate::error::Result;
use crate::load::{Bias, Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{Conv2d, Epilogue, Linear, Padding};

/// Makes an image of the tokens of one layer. Source: transformers modeling_dpt.py `DPTReassembleStage`.
pub(super) struct Reassemble {
    /// None for the maps that a hybrid model's backbone gives.
    tokens: Option<Tokens>,
    conv: Conv2d,
}

/// What makes a map of tokens.
struct Tokens {
    readout: ReadoutLayer,
    projection: Conv2d,
    resize: Resize,
}

enum ReadoutLayer {
    Ignore,
    Add,
    Project(Linear, nd_kernels::Activation),
}

enum Resize {
    Keep,
    /// A transposed convolution whose kernel is its stride: one product per pixel, whose results lie `factor` x `factor`.
    Up(Linear, usize),
    Down(Conv2d),
}

impl Reassemble {
    pub fn new(b: &Builder, config: &DptConfig, index: usize) -> Result<Self> {
        let fused = ConvShape::same(config.neck_hidden_sizes[index], config.fusion_hidden_size, 3).bias(Bias::No);
        let given = config.backbone.is_some() && index < 2;
        let tokens = if given { None } else { Some(Tokens::new(b, config, index)?) };
        Ok(Self { tokens, conv: b.conv(&format!("convs.{index}"), fused)? })
    }

    /// A map of the backbone (B, H, W, C) -> (B, H, W, fusion_hidden_size).
    pub fn keep(&self, map: &Tensor) -> Result<Tensor> {
        Ok(self.conv.forward(map)?)
    }

    /// Tokens (B, 1 + rows columns, C) -> (B, H, W, fusion_hidden_size).
    pub fn forward(&self, tokens: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
        let map = self.tokens.as_ref().map_or_else(|| Ok(tokens.clone()), |layer| layer.forward(tokens, grid))?;
        self.keep(&map)
    }
}

impl Tokens {
    fn new(b: &Builder, config: &DptConfig, index: usize) -> Result<Self> {
        let width = config.transformer.hidden_size;
        let channels = config.neck_hidden_sizes[index];
        let at = b.pp(format!("reassemble_stage.layers.{index}"));
        let resize = match config.factors[index] {
            Factor::Keep => Resize::Keep,
            Factor::Up(factor) => Resize::Up(at.spread_conv("resize", channels, channels, factor)?, factor),
            Factor::Down(stride) => Resize::Down(at.conv("resize", ConvShape::same(channels, channels, 3).stride(stride).padding(Padding::Same(1)))?),
        };
        let readout = match config.readout {
            Readout::Ignore => ReadoutLayer::Ignore,
            Readout::Add => ReadoutLayer::Add,
            Readout::Project => {
                let layer = b.linear(&format!("reassemble_stage.readout_projects.{index}.0"), 2 * width, width, Bias::Yes)?;
                ReadoutLayer::Project(layer, config.transformer.hidden_act)
            }
        };
        Ok(Self { readout, projection: at.conv("projection", ConvShape::same(width, channels, 1))?, resize })
    }

    /// Tokens (B, 1 + rows columns, C) -> (B, H, W, channels).
    fn forward(&self, tokens: &Tensor, (rows, columns): (usize, usize)) -> Result<Tensor> {
        let (batch, all, width) = tokens.dims3()?;
        let patches = tokens.narrow(1, 1, all - 1)?;
        let class = tokens.narrow(1, 0, 1)?;
        let patches = match &self.readout {
            ReadoutLayer::Ignore => patches.contiguous()?,
            ReadoutLayer::Add => patches.broadcast_add(&class)?,
            ReadoutLayer::Project(layer, activation) => {
                let pairs = Tensor::cat(&[&patches.contiguous()?, &class.broadcast_as(patches.dims())?.contiguous()?], 2)?;
                layer.forward_with(&pairs, &Epilogue { activation: Some(*activation), ..Default::default() })?
            }
        };
        let x = self.projection.forward(&patches.reshape((batch, rows, columns, width))?)?;
        match &self.resize {
            Resize::Keep => Ok(x),
            Resize::Down(conv) => Ok(conv.forward(&x)?),
            Resize::Up(linear, factor) => spread(&linear.forward(&x)?, *factor),
        }
    }
}

/// (B, H, W, f f C) -> (B, f H, f W, C).
fn spread(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (batch, height, width, wide) = x.dims4()?;
    let channels = wide / (factor * factor);
    let cells = x.reshape(vec![batch, height, width, factor, factor, channels])?.permute(vec![0, 1, 3, 2, 4, 5])?;
    Ok(cells.contiguous()?.reshape((batch, height * factor, width * factor, channels))?)
}
