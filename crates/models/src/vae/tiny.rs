use crate::blocks::activation_name::activation_name;
use crate::cancel::CancelToken;
use crate::config::{ConfigFile, ConfigReader, WIDTHS};
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, ConvShape, LoadContext, LoadReport};
use crate::unet::down_half::as_image;
use crate::weights::WeightScope;
use candle_core::Tensor;
use nd_kernels::{activation, nhwc_to_nchw, Activation, Conv2d, Epilogue, Padding};
use serde_json::{json, Value};

/// Latents are squashed to this magnitude before decoding. Source: diffusers vae.py `DecoderTiny.forward`.
const CLAMP: f64 = 3.0;

/// The `config.json` of an AutoencoderTiny (TAESD). Source: diffusers autoencoder_tiny.py `AutoencoderTiny.__init__`.
#[derive(Clone, Debug)]
pub struct TinyVaeConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub latent_channels: usize,
    pub encoder_block_out_channels: Vec<usize>,
    pub decoder_block_out_channels: Vec<usize>,
    pub num_encoder_blocks: Vec<usize>,
    pub num_decoder_blocks: Vec<usize>,
    pub(crate) act_fn: Activation,
    pub upsampling_scaling_factor: usize,
    pub latent_magnitude: f64,
    pub latent_shift: f64,
    pub scaling_factor: f64,
    pub file: ConfigFile,
}

impl TinyVaeConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        r.only("upsample_fn", json!("nearest"), &[json!("nearest")])?;
        r.ignore(&["block_out_channels", "force_upcast", "shift_factor"]);
        let config = Self {
            in_channels: r.int("in_channels", 3, WIDTHS)?,
            out_channels: r.int("out_channels", 3, WIDTHS)?,
            latent_channels: r.int("latent_channels", 4, WIDTHS)?,
            encoder_block_out_channels: r.ints("encoder_block_out_channels", &[64; 4], WIDTHS)?,
            decoder_block_out_channels: r.ints("decoder_block_out_channels", &[64; 4], WIDTHS)?,
            num_encoder_blocks: r.ints("num_encoder_blocks", &[1, 3, 3, 3], 0..=128)?,
            num_decoder_blocks: r.ints("num_decoder_blocks", &[3, 3, 3, 1], 0..=128)?,
            act_fn: activation_name("act_fn", &r.string("act_fn", "relu")?)?,
            upsampling_scaling_factor: r.int("upsampling_scaling_factor", 2, 1..=8)?,
            latent_magnitude: r.positive("latent_magnitude", 3.0)?,
            latent_shift: r.float("latent_shift", 0.5)?,
            scaling_factor: r.positive("scaling_factor", 1.0)?,
            file: ConfigFile::default(),
        };
        for (key, channels, blocks) in [
            ("num_encoder_blocks", &config.encoder_block_out_channels, &config.num_encoder_blocks),
            ("num_decoder_blocks", &config.decoder_block_out_channels, &config.num_decoder_blocks),
        ] {
            if channels.len() != blocks.len() {
                return Err(ModelError::config(key, format!("a list of {}", channels.len()), format!("{blocks:?}")));
            }
        }
        Ok(Self { file: r.finish(), ..config })
    }
}

enum Layer {
    Conv(Conv2d),
    ConvUpsampled(Conv2d, usize),
    ConvActivated(Conv2d),
    Residual([Conv2d; 3]),
}

/// Numbers the layers as `torch.nn.Sequential` does.
struct Stack<'a> {
    b: Builder<'a>,
    next: usize,
    layers: Vec<Layer>,
}

impl Stack<'_> {
    fn conv(&mut self, shape: ConvShape) -> Result<Conv2d> {
        let conv = self.b.conv(&format!("layers.{}", self.next), shape)?;
        self.next += 1;
        Ok(conv)
    }

    fn residuals(&mut self, count: usize, width: usize) -> Result<()> {
        for _ in 0..count {
            let b = self.b.pp(format!("layers.{}", self.next));
            let conv = |i: usize| b.conv(&format!("conv.{i}"), ConvShape::same(width, width, 3));
            self.layers.push(Layer::Residual([conv(0)?, conv(2)?, conv(4)?]));
            self.next += 1;
        }
        Ok(())
    }
}

/// A small autoencoder for fast previews. Immutable and re-entrant. Source: diffusers autoencoder_tiny.py `AutoencoderTiny`.
pub struct AutoencoderTiny {
    config: TinyVaeConfig,
    report: LoadReport,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
}

impl AutoencoderTiny {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &TinyVaeConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let build = |b: &Builder| Ok((encoder(b.pp("encoder"), config)?, decoder(b.pp("decoder"), config)?));
        let ((encoder, decoder), report) = load("AutoencoderTiny", &scope, ctx, build)?;
        Ok(Self { config: config.clone(), report, encoder, decoder })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &TinyVaeConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Pixels (B, 3, H, W) in [-1, 1] -> latents (B, latent_channels, h, w).
    pub fn encode(&self, image: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let x = ((check("image", image, self.config.in_channels)? + 1.0)? * 0.5)?;
        Ok(nhwc_to_nchw(&self.run(&self.encoder, x, cancel)?)?.to_dtype(image.dtype())?)
    }

    /// Latents (B, latent_channels, h, w) -> pixels (B, 3, H, W), about [-1, 1].
    pub fn decode(&self, latents: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let z = ((check("latents", latents, self.config.latent_channels)? / CLAMP)?.tanh()? * CLAMP)?;
        let x = ((self.run(&self.decoder, z, cancel)? * 2.0)? - 1.0)?;
        Ok(nhwc_to_nchw(&x)?.to_dtype(latents.dtype())?)
    }

    /// Raw latents to [0, 1].
    pub fn scale_latents(&self, latents: &Tensor) -> Result<Tensor> {
        Ok(((latents / (2.0 * self.config.latent_magnitude))? + self.config.latent_shift)?.clamp(0.0, 1.0)?)
    }

    /// [0, 1] to raw latents.
    pub fn unscale_latents(&self, latents: &Tensor) -> Result<Tensor> {
        Ok(((latents - self.config.latent_shift)? * (2.0 * self.config.latent_magnitude))?)
    }

    fn run(&self, layers: &[Layer], x: Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let activated = Epilogue { activation: Some(self.config.act_fn), ..Default::default() };
        let mut x = x;
        for layer in layers {
            cancel.check()?;
            x = match layer {
                Layer::Conv(conv) => conv.forward(&x)?,
                Layer::ConvActivated(conv) => conv.forward_with(&x, &activated)?,
                Layer::ConvUpsampled(conv, factor) => conv.forward_upsampled(&x, (factor * x.dim(1)?, factor * x.dim(2)?), &Epilogue::default())?,
                Layer::Residual([first, second, third]) => {
                    let hidden = second.forward_with(&first.forward_with(&x, &activated)?, &activated)?;
                    activation(&third.forward_with(&hidden, &Epilogue { residual: Some(&x), ..Default::default() })?, Activation::Relu)?
                }
            };
        }
        Ok(x)
    }
}

fn check(name: &str, tensor: &Tensor, channels: usize) -> Result<Tensor> {
    match *tensor.dims() {
        [b, c, h, w] if c == channels && b * h * w > 0 => as_image(tensor),
        _ => Err(ModelError::shape(name, format!("shape (B, {channels}, H, W)"), tensor)),
    }
}

fn encoder(b: Builder, config: &TinyVaeConfig) -> Result<Vec<Layer>> {
    let mut stack = Stack { b, next: 0, layers: Vec::new() };
    for (i, (&width, &count)) in config.encoder_block_out_channels.iter().zip(&config.num_encoder_blocks).enumerate() {
        let shape = match i {
            0 => ConvShape::same(config.in_channels, width, 3),
            _ => ConvShape::same(width, width, 3).stride(2).padding(Padding::Same(1)).bias(Bias::No),
        };
        let conv = stack.conv(shape)?;
        stack.layers.push(Layer::Conv(conv));
        stack.residuals(count, width)?;
    }
    let last = config.encoder_block_out_channels[config.encoder_block_out_channels.len() - 1];
    let conv = stack.conv(ConvShape::same(last, config.latent_channels, 3))?;
    stack.layers.push(Layer::Conv(conv));
    Ok(stack.layers)
}

fn decoder(b: Builder, config: &TinyVaeConfig) -> Result<Vec<Layer>> {
    let widths = &config.decoder_block_out_channels;
    let mut stack = Stack { b, next: 0, layers: Vec::new() };
    let conv = stack.conv(ConvShape::same(config.latent_channels, widths[0], 3))?;
    stack.layers.push(Layer::ConvActivated(conv));
    stack.next += 1;
    for (i, (&width, &count)) in widths.iter().zip(&config.num_decoder_blocks).enumerate() {
        stack.residuals(count, width)?;
        if i + 1 == widths.len() {
            let conv = stack.conv(ConvShape::same(width, config.out_channels, 3))?;
            stack.layers.push(Layer::Conv(conv));
        } else {
            stack.next += 1;
            let conv = stack.conv(ConvShape::same(width, width, 3).bias(Bias::No))?;
            stack.layers.push(Layer::ConvUpsampled(conv, config.upsampling_scaling_factor));
        }
    }
    Ok(stack.layers)
}
