use super::image_mask::downsample;
use super::image_projection::{ImageProjection, ProjectionShape};
use crate::blocks::kv_cache::{KvCache, KvEntry};
use crate::config::ConfigFile;
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{attention, Heads, Linear, Mask};
use serde_json::json;
use std::sync::Arc;

/// Image prompts for a UNet, in the published flat layout (`image_proj.*`, `ip_adapter.1.to_k_ip.weight`, ...): plain, Plus and full-face.
/// Immutable and re-entrant. Source: diffusers attention_processor.py `IPAdapterAttnProcessor2_0`.
pub struct IpAdapter {
    shape: ProjectionShape,
    config: IpAdapterConfig,
    report: LoadReport,
    parts: Parts,
    kv: KvCache,
}

/// What an adapter's weights tell of it, as the `config.json` that the published files lack.
#[derive(Clone, Debug)]
pub struct IpAdapterConfig {
    /// `kind` (plain, full or plus), `image_width`, `context_width`, `layers`.
    pub file: ConfigFile,
}

struct Parts {
    projection: ImageProjection,
    /// Keys and values for each cross-attention of the UNet: down blocks, up blocks, mid block.
    layers: Vec<(Linear, Linear)>,
}

/// An image prompt of one call.
#[derive(Clone, Copy)]
pub struct ImagePrompt<'a> {
    pub adapter: &'a IpAdapter,
    /// What `IpAdapter::project` gave, (B, N, T, D) or (B, N, D).
    pub tokens: &'a Tensor,
    /// One strength for all cross-attention layers, or one each.
    pub scales: &'a [f64],
    /// (1, N, H, W): where each image counts.
    pub mask: Option<&'a Tensor>,
}

impl IpAdapter {
    /// Loads an adapter, whose kind and sizes its weights tell. Errors: `ModelError::Weights`.
    pub fn load(scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let shape = ProjectionShape::find(&scope)?;
        let key = |i: usize| format!("ip_adapter.{}.to_k_ip.weight", 2 * i + 1);
        let widths: Vec<usize> = (0..).map_while(|i| scope.shape(&key(i)).and_then(|shape| shape.first().copied())).collect();
        let build = |b: &Builder| {
            let layer = |(i, &width): (usize, &usize)| {
                let b = b.pp(format!("ip_adapter.{}", 2 * i + 1));
                Ok((b.linear("to_k_ip", shape.context(), width, Bias::No)?, b.linear("to_v_ip", shape.context(), width, Bias::No)?))
            };
            Ok(Parts { projection: ImageProjection::new(b, shape)?, layers: widths.iter().enumerate().map(layer).collect::<Result<_>>()? })
        };
        let (parts, report) = load("IP-Adapter", &scope, ctx, build)?;
        let values = [
            ("kind", json!(shape.kind())),
            ("image_width", json!(shape.image())),
            ("context_width", json!(shape.context())),
            ("layers", json!(parts.layers.len())),
        ];
        let values = values.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let config = IpAdapterConfig { file: ConfigFile { values, unknown: Vec::new() } };
        Ok(Self { shape, config, report, kv: KvCache::new(parts.layers.len()), parts })
    }

    /// Kind and sizes, found from the weights.
    pub fn config(&self) -> &IpAdapterConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Width of the image embeddings that `project` takes.
    pub fn image_width(&self) -> usize {
        self.shape.image()
    }

    /// Width of the tokens, which is the UNet's `cross_attention_dim`.
    pub fn context_width(&self) -> usize {
        self.shape.context()
    }

    /// Embeddings of N images, (B, N, D), for Plus hidden states (B, N, S, D) -> tokens (B, N, T, D'). Full-face takes either:
    /// (B, N, D) -> (B, N, D'), (B, N, S, D) -> (B, N, S, D').
    pub fn project(&self, image_embeds: &Tensor) -> Result<Tensor> {
        let width = self.shape.image();
        let (takes_embeds, takes_states) = match self.shape {
            ProjectionShape::Plain { .. } => (true, false),
            ProjectionShape::Full { .. } => (true, true),
            ProjectionShape::Plus { .. } => (false, true),
        };
        let (batch, images) = match *image_embeds.dims() {
            [b, n, d] if takes_embeds && d == width && b * n > 0 => (b, n),
            [b, n, s, d] if takes_states && d == width && b * n * s > 0 => (b, n),
            _ => {
                let shape = if takes_states { "(B, N, S, " } else { "(B, N, " };
                return Err(ModelError::shape("image_embeds", format!("shape {shape}{width})"), image_embeds));
            }
        };
        let flat = image_embeds.to_dtype(DType::F32)?.contiguous()?.flatten(0, 1)?;
        let tokens = self.parts.projection.forward(&flat)?;
        let mut shape = vec![batch, images];
        shape.extend_from_slice(&tokens.dims()[1..]);
        Ok(tokens.reshape(shape)?)
    }

    /// Checks a prompt against a call and looks up what was computed for it before.
    pub(crate) fn prepare<'a>(prompt: ImagePrompt<'a>, batch: usize, layers: usize) -> Result<PreparedPrompt<'a>> {
        let ImagePrompt { adapter, tokens, scales, mask } = prompt;
        let width = adapter.shape.context();
        if adapter.parts.layers.len() != layers {
            let received = format!("{} layers", adapter.parts.layers.len());
            return Err(ModelError::argument("ip_adapter", format!("an adapter for the UNet's {layers} cross-attention layers"), received));
        }
        match *tokens.dims() {
            [b, n, d] if b == batch && n > 0 && d == width && mask.is_none() => {}
            [b, n, t, d] if b == batch && n * t > 0 && d == width => {}
            _ => return Err(ModelError::shape("image_embeds", format!("tokens of shape ({batch}, N, T, {width})"), tokens)),
        }
        if let Some(mask) = mask {
            let images = tokens.dim(1)?;
            match *mask.dims() {
                [1, n, h, w] if n == images && h * w > 0 => {}
                _ => return Err(ModelError::shape("ip_adapter_masks", format!("shape (1, {images}, H, W)"), mask)),
            }
        }
        if scales.len() != 1 && scales.len() != layers || scales.iter().any(|scale| !scale.is_finite()) {
            return Err(ModelError::argument("ip_adapter_scale", format!("1 or {layers} finite numbers"), format!("{scales:?}")));
        }
        Ok(PreparedPrompt { prompt, kv: adapter.kv.entry(tokens) })
    }
}

/// An image prompt that fits the call.
pub(crate) struct PreparedPrompt<'a> {
    prompt: ImagePrompt<'a>,
    kv: Arc<KvEntry>,
}

impl PreparedPrompt<'_> {
    /// What the images add to the attention of q (B, L, C) in cross-attention `layer`; `None` when their strength is 0.
    pub fn attend(&self, q: &Tensor, layer: usize, heads: Heads) -> Result<Option<Tensor>> {
        let ImagePrompt { adapter, tokens, scales, mask } = self.prompt;
        let strength = if scales.len() == 1 { scales.first() } else { scales.get(layer) }.copied().unwrap_or(0.0);
        let (Some((to_k, to_v)), true) = (adapter.parts.layers.get(layer), strength != 0.0) else { return Ok(None) };
        let width = adapter.shape.context();
        if to_k.out_features() != q.dim(2)? {
            return Err(ModelError::argument("ip_adapter", format!("keys of width {} in layer {layer}", q.dim(2)?), to_k.out_features()));
        }
        let (k, v) = self.kv.get(layer, || {
            let flat = tokens.to_dtype(DType::F32)?.contiguous()?.reshape((tokens.dim(0)?, (), width))?;
            Ok((to_k.forward(&flat)?, to_v.forward(&flat)?))
        })?;
        let Some(mask) = mask else {
            return Ok(Some((attention(q, &k, &v, heads, Mask::None)? * strength)?));
        };
        let (images, per_image) = (tokens.dim(1)?, tokens.dim(2)?);
        let mut sum: Option<Tensor> = None;
        for image in 0..images {
            let part = |t: &Tensor| t.narrow(1, image * per_image, per_image)?.contiguous();
            let own = attention(q, &part(&k)?, &part(&v)?, heads, Mask::None)?;
            let own = own.broadcast_mul(&(downsample(mask, image, q.dim(1)?)? * strength)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        Ok(sum)
    }
}
