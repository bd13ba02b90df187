use super::config::VaeConfig;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::tiling::Tiling;
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{nchw_to_nhwc, nhwc_to_nchw, Linear};

/// Bounds of the log variance. Source: diffusers vae.py `DiagonalGaussianDistribution`.
const LOGVAR_RANGE: (f64, f64) = (-30.0, 20.0);

/// How an autoencoder runs.
#[derive(Clone, Copy)]
pub struct VaeOptions<'a> {
    /// Tiles for inputs larger than one tile; default none.
    pub tiling: Option<Tiling>,
    /// One sample of the batch at a time; default off.
    pub slicing: bool,
    /// Polled between layers and tiles.
    pub cancel: &'a CancelToken,
}

/// Encodes pixels in [-1, 1] to latents and back; no scaling factor is applied. Immutable and re-entrant.
/// Source: diffusers autoencoder_kl.py `AutoencoderKL`.
pub struct AutoencoderKL {
    config: VaeConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Linear>,
    post_quant_conv: Option<Linear>,
}

impl Parts {
    fn new(b: &Builder, config: &VaeConfig) -> Result<Self> {
        let pointwise = |name: &str, width: usize| b.linear(name, width, width, Bias::Yes);
        Ok(Self {
            encoder: Encoder::new(&b.pp("encoder"), &config.encoder())?,
            decoder: Decoder::new(&b.pp("decoder"), &config.decoder())?,
            quant_conv: config.use_quant_conv.then(|| pointwise("quant_conv", 2 * config.latent_channels)).transpose()?,
            post_quant_conv: config.use_post_quant_conv.then(|| pointwise("post_quant_conv", config.latent_channels)).transpose()?,
        })
    }

    fn encode(&self, x: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        cancel.check()?;
        let moments = self.encoder.forward(x, cancel)?;
        self.quant_conv.as_ref().map_or(Ok(moments.clone()), |conv| Ok(conv.forward(&moments)?))
    }

    fn decode(&self, z: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        cancel.check()?;
        match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(z)?, None, cancel),
            None => self.decoder.forward(z, None, cancel),
        }
    }
}

impl AutoencoderKL {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys, `ModelError::Cancelled`.
    pub fn load(config: &VaeConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("AutoencoderKL", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The tiling that diffusers takes from the config.
    pub fn default_tiling(&self) -> Tiling {
        let size = self.config.sample_size;
        Tiling { tile_sample_min_size: size, tile_latent_min_size: size / self.config.factor(), tile_overlap_factor: 0.25 }
    }

    /// Pixels (B, 3, H, W) in [-1, 1] -> moments (B, 2 latent_channels, h, w); see `split_moments`.
    pub fn encode(&self, image: &Tensor, options: &VaeOptions) -> Result<Tensor> {
        let image_size = self.check("image", image, self.config.in_channels)?;
        let factor = self.config.factor();
        if image_size.0 < factor || image_size.1 < factor {
            return Err(ModelError::shape("image", format!("at least {factor} x {factor} pixels"), image));
        }
        self.run(image, options, |x| {
            let one = |x: &Tensor| self.parts.encode(x, options.cancel);
            match options.tiling {
                Some(tiling) if larger(image_size, tiling.tile_sample_min_size) => tiling.encode(x, one),
                _ => one(x),
            }
        })
    }

    /// Latents (B, latent_channels, h, w) -> pixels (B, 3, H, W), about [-1, 1], not clamped.
    pub fn decode(&self, latents: &Tensor, options: &VaeOptions) -> Result<Tensor> {
        let latent_size = self.check("latents", latents, self.config.latent_channels)?;
        self.run(latents, options, |z| {
            let one = |z: &Tensor| self.parts.decode(z, options.cancel);
            match options.tiling {
                Some(tiling) if larger(latent_size, tiling.tile_latent_min_size) => tiling.decode(z, one),
                _ => one(z),
            }
        })
    }

    fn check(&self, name: &str, tensor: &Tensor, channels: usize) -> Result<(usize, usize)> {
        match *tensor.dims() {
            [b, c, h, w] if c == channels && b * h * w > 0 => Ok((h, w)),
            _ => Err(ModelError::shape(name, format!("shape (B, {channels}, H, W)"), tensor)),
        }
    }

    fn run(&self, input: &Tensor, options: &VaeOptions, body: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if let Some(tiling) = &options.tiling {
            tiling.check()?;
        }
        let x = nchw_to_nhwc(&input.to_dtype(DType::F32)?.contiguous()?)?;
        let batch = x.dim(0)?;
        let out = if options.slicing && batch > 1 {
            let slices = (0..batch).map(|i| body(&x.narrow(0, i, 1)?)).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&slices, 0)?
        } else {
            body(&x)?
        };
        Ok(nhwc_to_nchw(&out)?.to_dtype(input.dtype())?)
    }
}

fn larger((height, width): (usize, usize), tile: usize) -> bool {
    height > tile || width > tile
}

/// Moments (B, 2 C, h, w) -> (mean, log variance clamped to [-30, 20]), (B, C, h, w) each.
pub fn split_moments(moments: &Tensor) -> Result<(Tensor, Tensor)> {
    let halves = moments.chunk(2, 1)?;
    let [mean, logvar] = halves.as_slice() else {
        return Err(ModelError::shape("moments", "an even number of channels", moments));
    };
    Ok((mean.contiguous()?, logvar.clamp(LOGVAR_RANGE.0, LOGVAR_RANGE.1)?.contiguous()?))
}
