use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use crate::weights::WeightScope;
use candle_core::Tensor;
use nd_kernels::{attention, Activation, Epilogue, Heads, LayerNorm, Linear, Mask};

/// Tokens per image of the plain adapter. Source: diffusers loaders/unet.py `_convert_ip_adapter_image_proj_to_diffusers`.
const PLAIN_TOKENS: usize = 4;
/// Width of a head of the resampler. Source: the same.
const HEAD_WIDTH: usize = 64;
const EPS: f64 = 1e-5;

/// Sizes of an image projection, found from its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ProjectionShape {
    Plain { image: usize, context: usize },
    Full { image: usize, context: usize },
    Plus { image: usize, context: usize, hidden: usize, tokens: usize, inner: usize, layers: usize },
}

impl ProjectionShape {
    /// Looks at `image_proj.*`. Errors: `ModelError::Weights` for a layout that is none of plain, full-face and Plus.
    pub fn find(scope: &WeightScope) -> Result<Self> {
        let shape = |name: &str| scope.shape(&format!("image_proj.{name}"));
        if let Some([rows, image]) = shape("proj.weight").as_deref() {
            return Ok(Self::Plain { image: *image, context: rows / PLAIN_TOKENS });
        }
        if let (Some([context]), Some([_, image])) = (shape("proj.3.weight").as_deref(), shape("proj.0.weight").as_deref()) {
            return Ok(Self::Full { image: *image, context: *context });
        }
        let plus = (shape("latents"), shape("proj_in.weight"), shape("proj_out.weight"), shape("layers.0.0.to_q.weight"));
        if let (Some([_, tokens, hidden]), Some([_, image]), Some([context, _]), Some([inner, _])) =
            (plus.0.as_deref(), plus.1.as_deref(), plus.2.as_deref(), plus.3.as_deref())
        {
            let layers = (0..).take_while(|i| shape(&format!("layers.{i}.0.to_q.weight")).is_some()).count();
            if *inner >= HEAD_WIDTH && inner % HEAD_WIDTH == 0 {
                return Ok(Self::Plus { image: *image, context: *context, hidden: *hidden, tokens: *tokens, inner: *inner, layers });
            }
        }
        Err(ModelError::Weights("Expected an IP-Adapter with image_proj.proj, image_proj.proj.3 or image_proj.latents but found none of them".into()))
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "plain",
            Self::Full { .. } => "full",
            Self::Plus { .. } => "plus",
        }
    }

    pub fn context(&self) -> usize {
        match *self {
            Self::Plain { context, .. } | Self::Full { context, .. } | Self::Plus { context, .. } => context,
        }
    }

    pub fn image(&self) -> usize {
        match *self {
            Self::Plain { image, .. } | Self::Full { image, .. } | Self::Plus { image, .. } => image,
        }
    }
}

/// Image embeddings to tokens. Source: diffusers embeddings.py `ImageProjection`, `IPAdapterFullImageProjection`, `IPAdapterPlusImageProjection`.
pub(super) enum ImageProjection {
    Plain { proj: Linear, norm: LayerNorm, context: usize },
    Full { first: Linear, second: Linear, norm: LayerNorm },
    Plus(Box<Resampler>),
}

pub(super) struct Resampler {
    latents: Tensor,
    proj_in: Linear,
    layers: Vec<ResamplerLayer>,
    proj_out: Linear,
    norm_out: LayerNorm,
}

struct ResamplerLayer {
    norm_image: LayerNorm,
    norm_latents: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    norm_ff: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
    inner: usize,
    heads: Heads,
}

impl ResamplerLayer {
    fn new(b: &Builder, hidden: usize, inner: usize) -> Result<Self> {
        Ok(Self {
            norm_image: b.layer_norm("0.norm1", hidden, EPS)?,
            norm_latents: b.layer_norm("0.norm2", hidden, EPS)?,
            to_q: b.linear("0.to_q", hidden, inner, Bias::No)?,
            to_kv: b.linear("0.to_kv", hidden, 2 * inner, Bias::No)?,
            to_out: b.linear("0.to_out", inner, hidden, Bias::No)?,
            norm_ff: b.layer_norm("1.0", hidden, EPS)?,
            ff_in: b.linear("1.1", hidden, 4 * hidden, Bias::No)?,
            ff_out: b.linear("1.3", 4 * hidden, hidden, Bias::No)?,
            inner,
            heads: b.heads(inner / HEAD_WIDTH, HEAD_WIDTH),
        })
    }

    fn forward(&self, image: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let normed = self.norm_latents.forward(latents)?;
        let all = Tensor::cat(&[&self.norm_image.forward(image)?, &normed], 1)?;
        let kv = self.to_kv.forward(&all)?;
        let (k, v) = (kv.narrow(2, 0, self.inner)?.contiguous()?, kv.narrow(2, self.inner, self.inner)?.contiguous()?);
        let mixed = attention(&self.to_q.forward(&normed)?, &k, &v, self.heads, Mask::None)?;
        let latents = self.to_out.forward_with(&mixed, &Epilogue { residual: Some(latents), ..Default::default() })?;
        let hidden =
            self.ff_in.forward_with(&self.norm_ff.forward(&latents)?, &Epilogue { activation: Some(Activation::Gelu), ..Default::default() })?;
        Ok(self.ff_out.forward_with(&hidden, &Epilogue { residual: Some(&latents), ..Default::default() })?)
    }
}

impl ImageProjection {
    pub fn new(b: &Builder, shape: ProjectionShape) -> Result<Self> {
        let b = b.pp("image_proj");
        Ok(match shape {
            ProjectionShape::Plain { image, context } => {
                Self::Plain { proj: b.linear("proj", image, PLAIN_TOKENS * context, Bias::Yes)?, norm: b.layer_norm("norm", context, EPS)?, context }
            }
            ProjectionShape::Full { image, context } => Self::Full {
                first: b.linear("proj.0", image, image, Bias::Yes)?,
                second: b.linear("proj.2", image, context, Bias::Yes)?,
                norm: b.layer_norm("proj.3", context, EPS)?,
            },
            ProjectionShape::Plus { image, context, hidden, tokens, inner, layers } => {
                let layer = |i| ResamplerLayer::new(&b.pp(format!("layers.{i}")), hidden, inner);
                Self::Plus(Box::new(Resampler {
                    latents: b.tensor_f32("latents", &[1, tokens, hidden])?,
                    proj_in: b.linear("proj_in", image, hidden, Bias::Yes)?,
                    layers: (0..layers).map(layer).collect::<Result<_>>()?,
                    proj_out: b.linear("proj_out", hidden, context, Bias::Yes)?,
                    norm_out: b.layer_norm("norm_out", context, EPS)?,
                }))
            }
        })
    }

    /// Embeddings (B, D), or (B, S, D) for Plus -> (B, T, context); for full-face the shape but the last dimension stays.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain { proj, norm, context } => Ok(norm.forward(&proj.forward(x)?.reshape((x.dim(0)?, PLAIN_TOKENS, *context))?)?),
            Self::Full { first, second, norm } => {
                let hidden = first.forward_with(x, &Epilogue { activation: Some(Activation::Gelu), ..Default::default() })?;
                Ok(norm.forward(&second.forward(&hidden)?)?)
            }
            Self::Plus(resampler) => {
                let image = resampler.proj_in.forward(x)?;
                let mut latents = resampler.latents.repeat((x.dim(0)?, 1, 1))?;
                for layer in &resampler.layers {
                    latents = layer.forward(&image, &latents)?;
                }
                Ok(resampler.norm_out.forward(&resampler.proj_out.forward(&latents)?)?)
            }
        }
    }
}
