use super::config::ClipVisionConfig;
use super::layer::ClipLayer;
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, ConvShape, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{nchw_to_nhwc, Conv2d, LayerNorm, Linear, Mask, Padding};

/// What an image encoder gives.
#[derive(Clone, Debug)]
pub struct ClipVisionOutput {
    /// (B, projection_dim): the projected class token, of models with projection.
    pub image_embeds: Option<Tensor>,
    /// (B, 1 + patches, C), without the last layer norm.
    pub last_hidden_state: Tensor,
    /// (B, C): the class token after the last layer norm.
    pub pooler_output: Tensor,
    /// The embeddings and every layer's output, (B, 1 + patches, C) each.
    pub hidden_states: Vec<Tensor>,
}

/// Whether an image encoder ends in a projection.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// `CLIPVisionModel`.
    Pooled,
    /// `CLIPVisionModelWithProjection`.
    Projected,
}

/// CLIP's image encoder, with or without projection. Immutable and re-entrant. Source: transformers modeling_clip.py `CLIPVisionModel`.
pub struct ClipVisionModel {
    config: ClipVisionConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    class_embedding: Tensor,
    patch_embedding: Conv2d,
    position_embedding: Tensor,
    pre_layer_norm: LayerNorm,
    layers: Vec<ClipLayer>,
    post_layer_norm: LayerNorm,
    visual_projection: Option<Linear>,
}

impl Parts {
    fn new(b: &Builder, config: &ClipVisionConfig, ending: Ending) -> Result<Self> {
        let (width, eps, patch) = (config.transformer.hidden_size, config.transformer.layer_norm_eps, config.patch_size);
        let prefixed = b.pp("vision_model");
        let root = if b.contains("embeddings.class_embedding") { b } else { &prefixed };
        let at = root.pp("embeddings");
        let side = config.image_size / patch;
        let patches =
            ConvShape { inputs: config.num_channels, outputs: width, kernel: patch, stride: patch, padding: Padding::Same(0), bias: Bias::No };
        let layer = |i| ClipLayer::new(&root.pp(format!("encoder.layers.{i}")), &config.transformer);
        let project = || b.linear("visual_projection", width, config.projection_dim, Bias::No);
        Ok(Self {
            class_embedding: at.tensor_f32("class_embedding", &[width])?,
            patch_embedding: at.conv("patch_embedding", patches)?,
            position_embedding: at.pp("position_embedding").tensor_f32("weight", &[side * side + 1, width])?,
            pre_layer_norm: root.layer_norm("pre_layrnorm", width, eps)?,
            layers: (0..config.transformer.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            post_layer_norm: root.layer_norm("post_layernorm", width, eps)?,
            visual_projection: (ending == Ending::Projected).then(project).transpose()?,
        })
    }
}

impl ClipVisionModel {
    /// Loads a `CLIPVisionModel`; keys may start with `vision_model.` or not. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &ClipVisionConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        Self::load_as(config, Ending::Pooled, scope, ctx)
    }

    /// Loads a `CLIPVisionModelWithProjection`.
    pub fn load_with_projection(config: &ClipVisionConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        Self::load_as(config, Ending::Projected, scope, ctx)
    }

    fn load_as(config: &ClipVisionConfig, ending: Ending, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let name = if ending == Ending::Pooled { "CLIPVisionModel" } else { "CLIPVisionModelWithProjection" };
        let (parts, report) = load(name, &scope, ctx, |b| Parts::new(b, config, ending))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Normalised pixels (B, channels, image_size, image_size) -> embeddings.
    pub fn forward(&self, pixel_values: &Tensor, cancel: &CancelToken) -> Result<ClipVisionOutput> {
        let (channels, side) = (self.config.num_channels, self.config.image_size);
        match *pixel_values.dims() {
            [b, c, h, w] if b > 0 && c == channels && h == side && w == side => {}
            _ => return Err(ModelError::shape("pixel_values", format!("shape (B, {channels}, {side}, {side})"), pixel_values)),
        }
        let mut x = self.parts.pre_layer_norm.forward(&self.embed(pixel_values)?)?;
        let mut hidden_states = vec![x.clone()];
        for layer in &self.parts.layers {
            cancel.check()?;
            x = layer.forward(&x, Mask::None)?;
            hidden_states.push(x.clone());
        }
        let pooler_output = self.parts.post_layer_norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)?;
        let image_embeds = self.parts.visual_projection.as_ref().map(|projection| projection.forward(&pooler_output)).transpose()?;
        Ok(ClipVisionOutput { image_embeds, last_hidden_state: x, pooler_output, hidden_states })
    }

    fn embed(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let batch = pixel_values.dim(0)?;
        let patches = self.parts.patch_embedding.forward(&nchw_to_nhwc(&pixel_values.to_dtype(DType::F32)?.contiguous()?)?)?;
        let patches = patches.flatten(1, 2)?;
        let class = self.parts.class_embedding.reshape((1, 1, ()))?.broadcast_as((batch, 1, patches.dim(2)?))?;
        Ok(Tensor::cat(&[&class.contiguous()?, &patches], 1)?.broadcast_add(&self.parts.position_embedding.unsqueeze(0)?)?)
    }
}
