use crate::cancel::CancelToken;
use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, ConvShape, LoadContext, LoadReport};
use crate::unet::down_half::as_image;
use crate::weights::WeightScope;
use candle_core::Tensor;
use nd_kernels::{nhwc_to_nchw, Activation, Conv2d, Epilogue, Linear};

/// The three shapes of a T2I-Adapter (`adapter_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
enum AdapterType {
    Full,
    FullXl,
    Light,
}

/// The `config.json` of a T2IAdapter. Source: diffusers adapter.py `T2IAdapter.__init__`.
#[derive(Clone, Debug)]
pub struct T2IAdapterConfig {
    pub in_channels: usize,
    pub channels: Vec<usize>,
    pub num_res_blocks: usize,
    pub downscale_factor: usize,
    adapter_type: AdapterType,
    pub file: ConfigFile,
}

impl T2IAdapterConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &serde_json::Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let name = r.string("adapter_type", "full_adapter")?;
        let adapter_type = match name.as_str() {
            "full_adapter" => AdapterType::Full,
            "full_adapter_xl" => AdapterType::FullXl,
            "light_adapter" => AdapterType::Light,
            _ => return Err(ModelError::config("adapter_type", "full_adapter, full_adapter_xl or light_adapter", name)),
        };
        let config = Self {
            in_channels: r.int("in_channels", 3, 1..=64)?,
            channels: r.ints("channels", &[320, 640, 1280, 1280], WIDTHS)?,
            num_res_blocks: r.int("num_res_blocks", 2, DEPTHS)?,
            downscale_factor: r.int("downscale_factor", 8, 1..=64)?,
            adapter_type,
            file: ConfigFile::default(),
        };
        Ok(Self { file: r.finish(), ..config })
    }
}

/// A residual block of two convolutions. Source: diffusers adapter.py `AdapterResnetBlock`, `LightAdapterResnetBlock`.
struct Residual {
    block1: Conv2d,
    block2: Conv2d,
}

struct Body {
    halve: bool,
    in_conv: Option<Linear>,
    resnets: Vec<Residual>,
    out_conv: Option<Linear>,
}

struct Parts {
    conv_in: Option<Conv2d>,
    body: Vec<Body>,
}

/// Features of a control image for the descending half of a UNet. Immutable and re-entrant. Source: diffusers adapter.py `T2IAdapter`.
pub struct T2IAdapter {
    config: T2IAdapterConfig,
    report: LoadReport,
    parts: Parts,
}

impl Body {
    /// A block with `width` channels inside; light blocks narrow before and widen after.
    fn new(b: &Builder, config: &T2IAdapterConfig, inputs: usize, outputs: usize, halve: bool) -> Result<Self> {
        let is_light = config.adapter_type == AdapterType::Light;
        let width = if is_light { outputs / 4 } else { outputs };
        let second_kernel = if is_light { 3 } else { 1 };
        let resnet = |i: usize| -> Result<Residual> {
            let b = b.pp(format!("resnets.{i}"));
            let block2 = b.conv("block2", ConvShape::same(width, width, second_kernel))?;
            Ok(Residual { block1: b.conv("block1", ConvShape::same(width, width, 3))?, block2 })
        };
        Ok(Self {
            halve,
            in_conv: (is_light || inputs != outputs).then(|| b.linear("in_conv", inputs, width, Bias::Yes)).transpose()?,
            resnets: (0..config.num_res_blocks).map(resnet).collect::<Result<_>>()?,
            out_conv: is_light.then(|| b.linear("out_conv", width, outputs, Bias::Yes)).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = if self.halve { halve_ceil(x)? } else { x.clone() };
        if let Some(conv) = &self.in_conv {
            x = conv.forward(&x)?;
        }
        for Residual { block1, block2 } in &self.resnets {
            let hidden = block1.forward_with(&x, &Epilogue { activation: Some(Activation::Relu), ..Default::default() })?;
            x = block2.forward_with(&hidden, &Epilogue { residual: Some(&x), ..Default::default() })?;
        }
        match &self.out_conv {
            Some(conv) => Ok(conv.forward(&x)?),
            None => Ok(x),
        }
    }
}

impl Parts {
    fn new(b: &Builder, config: &T2IAdapterConfig) -> Result<Self> {
        let b = b.pp("adapter");
        let channels = &config.channels;
        let pixels = config.in_channels * config.downscale_factor * config.downscale_factor;
        let block = |i: usize, inputs, outputs, halve| Body::new(&b.pp(format!("body.{i}")), config, inputs, outputs, halve);
        let conv_in = || b.conv("conv_in", ConvShape::same(pixels, channels[0], 3)).map(Some);
        let last = channels[channels.len() - 1];
        let mut body = Vec::with_capacity(channels.len() + 1);
        for (i, &outputs) in channels.iter().enumerate() {
            let before = channels[i.saturating_sub(1)];
            let (inputs, halve) = match (config.adapter_type, i) {
                (AdapterType::Light, 0) => (pixels, false),
                (AdapterType::FullXl, 1) => (before, false),
                (AdapterType::FullXl, 2) => (before, true),
                (AdapterType::FullXl, _) => (outputs, false),
                (_, i) => (before, i > 0),
            };
            body.push(block(i, inputs, outputs, halve)?);
        }
        if config.adapter_type == AdapterType::Light {
            body.push(block(channels.len(), last, last, true)?);
            return Ok(Self { conv_in: None, body });
        }
        Ok(Self { conv_in: conv_in()?, body })
    }
}

impl T2IAdapter {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &T2IAdapterConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("T2IAdapter", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the adapter was loaded with.
    pub fn config(&self) -> &T2IAdapterConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Control image (B, in_channels, H, W) in [0, 1], sides multiples of `downscale_factor` -> features (B, C, h, w) for
    /// `down_intrablock_additional_residuals`, to be multiplied by the adapter's scale.
    pub fn forward(&self, image: &Tensor, cancel: &CancelToken) -> Result<Vec<Tensor>> {
        let (channels, factor) = (self.config.in_channels, self.config.downscale_factor);
        match *image.dims() {
            [b, c, h, w] if b * h * w > 0 && c == channels && h % factor == 0 && w % factor == 0 => {}
            _ => return Err(ModelError::shape("image", format!("shape (B, {channels}, H, W) with sides divisible by {factor}"), image)),
        }
        let mut x = unshuffle(&as_image(image)?, factor)?;
        if let Some(conv) = &self.parts.conv_in {
            x = conv.forward(&x)?;
        }
        let mut features = Vec::with_capacity(self.parts.body.len());
        for block in &self.parts.body {
            cancel.check()?;
            x = block.forward(&x)?;
            features.push(nhwc_to_nchw(&x)?.to_dtype(image.dtype())?);
        }
        Ok(features)
    }
}

/// (B, H r, W r, C) -> (B, H, W, C r r), as `torch.nn.PixelUnshuffle` orders it.
fn unshuffle(x: &Tensor, r: usize) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let split = x.reshape(vec![batch, height / r, r, width / r, r, channels])?;
    let ordered = split.permute(vec![0, 1, 3, 5, 2, 4])?.contiguous()?;
    Ok(ordered.reshape((batch, height / r, width / r, channels * r * r))?)
}

/// Mean of 2x2 pixels of x (B, H, W, C); at an odd border, of those that are there (`ceil_mode`).
fn halve_ceil(x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for dim in [1, 2] {
        let n = x.dim(dim)?;
        if n % 2 == 1 {
            x = Tensor::cat(&[&x, &x.narrow(dim, n - 1, 1)?], dim)?;
        }
    }
    crate::blocks::resample::halve_average(&x)
}
