use super::decoder::Decoder;
use super::encoder::Encoder;
use super::vq_config::VqConfig;
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor, D};
use nd_kernels::{nchw_to_nhwc, nhwc_to_nchw, Linear};

/// Positions whose distances to all of the codebook are held at once.
const POSITIONS: usize = 1024;

/// What happens to latents before they are decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantize {
    /// Each position becomes the nearest vector of the codebook.
    Nearest,
    /// They are decoded as they are, as Kandinsky does (`force_not_quantize`).
    Skip,
}

/// An autoencoder with a codebook; with spatial norms it is MoVQ, arXiv:2209.09002. Immutable and re-entrant. Source: diffusers vq_model.py `VQModel`.
pub struct VqModel {
    config: VqConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    encoder: Encoder,
    quant_conv: Linear,
    /// (num_vq_embeddings, vq_embed_dim).
    codebook: Tensor,
    post_quant_conv: Linear,
    decoder: Decoder,
}

impl Parts {
    fn new(b: &Builder, config: &VqConfig) -> Result<Self> {
        let (latents, codes) = (config.latent_channels, config.vq_embed_dim);
        Ok(Self {
            encoder: Encoder::new(&b.pp("encoder"), &config.encoder())?,
            quant_conv: b.linear("quant_conv", latents, codes, Bias::Yes)?,
            codebook: b.pp("quantize.embedding").tensor_f32("weight", &[config.num_vq_embeddings, codes])?,
            post_quant_conv: b.linear("post_quant_conv", codes, latents, Bias::Yes)?,
            decoder: Decoder::new(&b.pp("decoder"), &config.decoder())?,
        })
    }
}

impl VqModel {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys, `ModelError::Cancelled`.
    pub fn load(config: &VqConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("VQModel", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &VqConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Pixels (B, in_channels, H, W) in [-1, 1] -> latents (B, vq_embed_dim, h, w), not quantized.
    pub fn encode(&self, image: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let x = check("image", image, self.config.in_channels)?;
        let factor = self.config.factor();
        if x.dim(1)? < factor || x.dim(2)? < factor {
            return Err(ModelError::shape("image", format!("at least {factor} x {factor} pixels"), image));
        }
        let latents = self.parts.quant_conv.forward(&self.parts.encoder.forward(&x, cancel)?)?;
        Ok(nhwc_to_nchw(&latents)?.to_dtype(image.dtype())?)
    }

    /// Latents (B, vq_embed_dim, h, w) -> pixels (B, out_channels, H, W), about [-1, 1], not clamped.
    pub fn decode(&self, latents: &Tensor, quantize: Quantize, cancel: &CancelToken) -> Result<Tensor> {
        let z = check("latents", latents, self.config.vq_embed_dim)?;
        let z = if quantize == Quantize::Nearest { self.nearest(&z)? } else { z };
        let read = self.config.is_spatial().then_some(&z);
        let x = self.parts.decoder.forward(&self.parts.post_quant_conv.forward(&z)?, read, cancel)?;
        Ok(nhwc_to_nchw(&x)?.to_dtype(latents.dtype())?)
    }

    /// z (B, h, w, C) -> the nearest vector of the codebook at each position. Source: diffusers vae.py `VectorQuantizer`.
    fn nearest(&self, z: &Tensor) -> Result<Tensor> {
        let codes = &self.parts.codebook;
        let rows = z.reshape(((), self.config.vq_embed_dim))?;
        let lengths = codes.sqr()?.sum(1)?.unsqueeze(0)?;
        let transposed = codes.t()?.contiguous()?;
        let count = rows.dim(0)?;
        let part = |i: usize| -> Result<Tensor> {
            let rows = rows.narrow(0, i, POSITIONS.min(count - i))?;
            // |z - e|^2 without |z|^2, which is the same for all e.
            let distances = lengths.broadcast_sub(&(rows.matmul(&transposed)? * 2.0)?)?;
            Ok(codes.index_select(&distances.argmin(D::Minus1)?, 0)?)
        };
        let parts = (0..count).step_by(POSITIONS).map(part).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?.reshape(z.shape())?)
    }
}

/// (B, channels, H, W) of any float dtype -> (B, H, W, channels) in f32.
fn check(name: &str, tensor: &Tensor, channels: usize) -> Result<Tensor> {
    match *tensor.dims() {
        [b, c, h, w] if c == channels && b * h * w > 0 => Ok(nchw_to_nhwc(&tensor.to_dtype(DType::F32)?.contiguous()?)?),
        _ => Err(ModelError::shape(name, format!("shape (B, {channels}, H, W)"), tensor)),
    }
}
