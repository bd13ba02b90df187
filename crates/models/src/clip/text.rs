use super::config::ClipTextConfig;
use super::layer::ClipLayer;
use super::token_rows::TokenRows;
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::load::{load_adaptable, Bias, Builder, LoadContext, LoadReport};
use crate::lora::{Adaptable, Adapter, Component, ModuleIndex};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{LayerNorm, Linear, Mask};
use std::sync::Arc;

/// The `eos_token_id` of old configs, which stands for pooling at the largest id. Source: transformers modeling_clip.py `CLIPTextTransformer.forward`.
const LEGACY_EOS: i64 = 2;

/// Whether a text encoder ends in a projection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum TextProjection {
    /// `CLIPTextModel`.
    None,
    /// `CLIPTextModelWithProjection`.
    Linear,
}

/// What a text encoder gives.
#[derive(Clone, Debug)]
pub struct ClipTextOutput {
    /// (B, L, C), after the final layer norm.
    pub last_hidden_state: Tensor,
    /// (B, C): the last hidden state at the end-of-text token.
    pub pooler_output: Tensor,
    /// (B, projection_dim) of models with projection.
    pub text_embeds: Option<Tensor>,
    /// The embeddings and every layer's output, (B, L, C) each; the last is before the final layer norm.
    pub hidden_states: Vec<Tensor>,
}

/// CLIP's text encoder, with or without projection. Immutable and re-entrant. Source: transformers modeling_clip.py `CLIPTextModel`.
pub struct ClipTextModel {
    config: ClipTextConfig,
    report: LoadReport,
    projection: TextProjection,
    parts: Arc<Parts>,
    tokens: TokenRows,
    adaptable: Arc<Adaptable>,
}

struct Parts {
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<ClipLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
}

impl Parts {
    fn new(b: &Builder, config: &ClipTextConfig, projection: TextProjection) -> Result<Self> {
        let width = config.transformer.hidden_size;
        let prefixed = b.pp("text_model");
        let root = if b.contains("embeddings.token_embedding.weight") { b } else { &prefixed };
        let layer = |i| ClipLayer::new(&root.pp(format!("encoder.layers.{i}")), &config.transformer);
        let project = || b.linear("text_projection", width, config.projection_dim, Bias::No);
        Ok(Self {
            token_embedding: root.pp("embeddings.token_embedding").table("weight", config.vocab_size, width)?,
            position_embedding: root.pp("embeddings.position_embedding").tensor_f32("weight", &[config.max_position_embeddings, width])?,
            layers: (0..config.transformer.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            final_layer_norm: root.layer_norm("final_layer_norm", width, config.transformer.layer_norm_eps)?,
            text_projection: (projection == TextProjection::Linear).then(project).transpose()?,
        })
    }
}

impl ClipTextModel {
    /// Loads a `CLIPTextModel`; keys may start with `text_model.` or not. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &ClipTextConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        Self::load_as(config, TextProjection::None, scope, ctx)
    }

    /// Loads a `CLIPTextModelWithProjection`.
    pub fn load_with_projection(config: &ClipTextConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        Self::load_as(config, TextProjection::Linear, scope, ctx)
    }

    fn load_as(config: &ClipTextConfig, projection: TextProjection, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let name = if projection == TextProjection::None { "CLIPTextModel" } else { "CLIPTextModelWithProjection" };
        let (parts, report, origin) = load_adaptable(name, &scope, ctx, |b| Parts::new(b, config, projection))?;
        let adaptable = Arc::new(Adaptable::new(Component::TextEncoder, origin));
        Ok(Self { config: config.clone(), report, projection, parts: Arc::new(parts), tokens: TokenRows::default(), adaptable })
    }

    /// The model as it was loaded, with these adapters and no others, and with the tokens of this one; layers that they leave alone are shared.
    /// `component` tells which of a pipeline's text encoders it is. `ctx` gives token and listener only. Errors: as the UNet's.
    pub fn with_adapters(&self, component: Component, adapters: &[Adapter], ctx: LoadContext) -> Result<Self> {
        let (parts, report) = self.adaptable.adapt(component, adapters, ctx, |b| Parts::new(b, &self.loaded_config(), self.projection))?;
        Ok(Self { report, parts: Arc::new(parts), ..self.share() })
    }

    /// The same model with embeddings for these token ids and no others, which may lie beyond the vocabulary; all layers are shared. `rows` (n, hidden).
    /// Errors: `ModelError::Shape`, `ModelError::Argument` for ids that leave a gap after the vocabulary.
    pub fn with_tokens(&self, ids: &[u32], rows: &Tensor) -> Result<Self> {
        let table = &self.parts.token_embedding;
        let tokens = TokenRows::new(ids, rows, table)?;
        let report = LoadReport { parameters: rows.elem_count() as u64, bytes: 4 * rows.elem_count() as u64, ..Default::default() };
        let mut config = self.config.clone();
        config.vocab_size = tokens.count(table.dim(0)?);
        config.file.values.insert("vocab_size".into(), config.vocab_size.into());
        Ok(Self { config, report, tokens, ..self.share() })
    }

    /// The config without added tokens.
    fn loaded_config(&self) -> ClipTextConfig {
        ClipTextConfig { vocab_size: self.parts.token_embedding.dims()[0], ..self.config.clone() }
    }

    fn share(&self) -> Self {
        Self {
            config: self.config.clone(),
            report: LoadReport::default(),
            projection: self.projection,
            parts: self.parts.clone(),
            tokens: self.tokens.clone(),
            adaptable: self.adaptable.clone(),
        }
    }

    /// The layers by their names in adapter files.
    pub fn modules(&self) -> &ModuleIndex {
        self.adaptable.index()
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Encodes token ids (B, L), L from 1 to `max_position_embeddings`.
    /// Errors: `ModelError::Shape`, `ModelError::Argument` for ids outside the vocabulary, `ModelError::Cancelled`.
    pub fn forward(&self, input_ids: &Tensor, cancel: &CancelToken) -> Result<ClipTextOutput> {
        self.forward_masked(input_ids, None, cancel)
    }

    /// As `forward`, with an attention mask (B, L) in which 0 hides a token.
    pub fn forward_masked(&self, input_ids: &Tensor, attention_mask: Option<&Tensor>, cancel: &CancelToken) -> Result<ClipTextOutput> {
        let ids = self.check(input_ids)?;
        let bias = attention_mask.map(|mask| causal_bias(mask, input_ids)).transpose()?;
        let mut hidden_states = vec![self.embed(input_ids, &ids)?];
        let mut x = hidden_states[0].clone();
        for layer in &self.parts.layers {
            cancel.check()?;
            x = layer.forward(&x, bias.as_ref().map_or(Mask::Causal, Mask::Bias))?;
            hidden_states.push(x.clone());
        }
        let last_hidden_state = self.parts.final_layer_norm.forward(&x)?;
        let pooler_output = self.pool(&last_hidden_state, &ids)?;
        let text_embeds = self.parts.text_projection.as_ref().map(|p| p.forward(&pooler_output)).transpose()?;
        Ok(ClipTextOutput { last_hidden_state, pooler_output, text_embeds, hidden_states })
    }

    /// The final layer norm alone, for the hidden state of an earlier layer (clip skip); x (B, L, C).
    pub fn final_layer_norm(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.config.transformer.hidden_size;
        match *x.dims() {
            [_, _, c] if c == width => Ok(self.parts.final_layer_norm.forward(&x.to_dtype(DType::F32)?.contiguous()?)?),
            _ => Err(ModelError::shape("hidden_states", format!("shape (B, L, {width})"), x)),
        }
    }

    /// The table of token embeddings (vocab_size, C), with rows for added tokens.
    pub fn token_embedding(&self) -> Result<Tensor> {
        self.tokens.table(&self.parts.token_embedding)
    }

    fn check(&self, input_ids: &Tensor) -> Result<Vec<Vec<i64>>> {
        let longest = self.config.max_position_embeddings;
        let name = "input_ids";
        let fits = matches!(*input_ids.dims(), [b, l] if b > 0 && l > 0 && l <= longest);
        if !fits || input_ids.dtype().is_float() {
            return Err(ModelError::shape(name, format!("integers of shape (B, L) with L at most {longest}"), input_ids));
        }
        let ids: Vec<Vec<i64>> = input_ids.to_dtype(DType::I64)?.to_vec2()?;
        let count = self.config.vocab_size;
        match ids.iter().flatten().find(|&&id| id < 0 || id >= count as i64) {
            Some(id) => Err(ModelError::argument(name, format!("token ids from 0 to {}", count - 1), id)),
            None => Ok(ids),
        }
    }

    fn embed(&self, input_ids: &Tensor, ids: &[Vec<i64>]) -> Result<Tensor> {
        let (batch, length) = input_ids.dims2()?;
        let flat: Vec<u32> = ids.iter().flatten().map(|&id| id as u32).collect();
        let rows = self.tokens.select(&self.parts.token_embedding, &flat)?;
        let positions = self.parts.position_embedding.narrow(0, 0, length)?;
        Ok(rows.reshape((batch, length, ()))?.broadcast_add(&positions.unsqueeze(0)?)?)
    }

    fn pool(&self, x: &Tensor, ids: &[Vec<i64>]) -> Result<Tensor> {
        let rows: Vec<Tensor> = ids.iter().enumerate().map(|(i, row)| x.get(i)?.get(self.end_of_text(row))).collect::<candle_core::Result<_>>()?;
        Ok(Tensor::stack(&rows, 0)?)
    }

    /// Position of the end-of-text token; 0 when there is none, as in transformers.
    fn end_of_text(&self, ids: &[i64]) -> usize {
        let eos = self.config.eos_token_id;
        let wanted = if eos == LEGACY_EOS { ids.iter().copied().max().unwrap_or(0) } else { eos };
        ids.iter().position(|&id| id == wanted).unwrap_or(0)
    }
}

/// Causal mask and padding mask (B, L) as one additive bias (B, 1, L, L).
fn causal_bias(mask: &Tensor, input_ids: &Tensor) -> Result<Tensor> {
    if mask.dims() != input_ids.dims() {
        return Err(ModelError::shape("attention_mask", format!("shape {:?}", input_ids.dims()), mask));
    }
    let (batch, length) = mask.dims2()?;
    let keep: Vec<Vec<f32>> = mask.to_dtype(DType::F32)?.to_vec2()?;
    let visible = |b: usize, i: usize, j: usize| j <= i && keep[b][j] != 0.0;
    let value = |n: usize| if visible(n / (length * length), n / length % length, n % length) { 0.0 } else { f32::MIN };
    let values: Vec<f32> = (0..batch * length * length).map(value).collect();
    Ok(Tensor::from_vec(values, (batch, 1, length, length), input_ids.device())?)
}
