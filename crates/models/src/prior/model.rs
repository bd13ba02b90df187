use super::config::{PriorConfig, ADDED_TOKENS};
use crate::blocks::embeddings::Sinusoids;
use crate::cancel::CancelToken;
use crate::clip::{ClipLayer, LayerNames};
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{Activation, Epilogue, LayerNorm, Linear, Mask};

/// What a token may not see, in the reference's number. Source: diffusers prior_transformer.py `causal_attention_mask`.
const HIDDEN: f32 = -10000.0;

const LAYER: LayerNames = LayerNames {
    norm1: "norm1",
    query: "attn1.to_q",
    key: "attn1.to_k",
    value: "attn1.to_v",
    out: "attn1.to_out.0",
    norm2: "norm3",
    inner: "ff.net.0.proj",
    outer: "ff.net.2",
};

/// Arguments of one evaluation, in diffusers' names and shapes.
pub struct PriorInput<'a> {
    /// Noisy image embeddings (B, embedding_dim).
    pub hidden_states: &'a Tensor,
    pub timestep: f64,
    /// Text embeddings (B, embedding_proj_dim).
    pub proj_embedding: &'a Tensor,
    /// Text states (B, num_embeddings, embedding_dim).
    pub encoder_hidden_states: &'a Tensor,
    /// (B, num_embeddings): 1 keeps a token of the text, 0 drops it. With it a token sees only those before it.
    pub attention_mask: Option<&'a Tensor>,
    /// Polled between layers.
    pub cancel: &'a CancelToken,
}

/// Predicts a clean image embedding from a noisy one and a text. Immutable and re-entrant. Source: diffusers prior_transformer.py `PriorTransformer`.
pub struct PriorTransformer {
    config: PriorConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    time_embedding: [Linear; 2],
    proj_in: Linear,
    embedding_proj: Linear,
    encoder_hidden_states_proj: Linear,
    positional_embedding: Tensor,
    prd_embedding: Tensor,
    layers: Vec<ClipLayer>,
    norm_out: LayerNorm,
    proj_to_clip_embeddings: Linear,
    clip_mean: Tensor,
    clip_std: Tensor,
}

impl Parts {
    fn new(b: &Builder, config: &PriorConfig) -> Result<Self> {
        let (inner, width, image) = (config.inner(), config.embedding_dim, config.clip_embed_dim);
        let layers = config.layers();
        let layer = |i| ClipLayer::named(&b.pp(format!("transformer_blocks.{i}")), &layers, &LAYER, Bias::Yes);
        let time = b.pp("time_embedding");
        Ok(Self {
            time_embedding: [
                time.linear("linear_1", inner, config.time_embed_dim, Bias::Yes)?,
                time.linear("linear_2", config.time_embed_dim, inner, Bias::Yes)?,
            ],
            proj_in: b.linear("proj_in", width, inner, Bias::Yes)?,
            embedding_proj: b.linear("embedding_proj", config.embedding_proj_dim, inner, Bias::Yes)?,
            encoder_hidden_states_proj: b.linear("encoder_hidden_states_proj", width, inner, Bias::Yes)?,
            positional_embedding: b.tensor_f32("positional_embedding", &[1, config.num_embeddings + ADDED_TOKENS, inner])?,
            prd_embedding: b.tensor_f32("prd_embedding", &[1, 1, inner])?,
            layers: (0..config.num_layers).map(layer).collect::<Result<_>>()?,
            norm_out: b.layer_norm("norm_out", inner, 1e-5)?,
            proj_to_clip_embeddings: b.linear("proj_to_clip_embeddings", inner, image, Bias::Yes)?,
            clip_mean: b.tensor_f32("clip_mean", &[1, image])?,
            clip_std: b.tensor_f32("clip_std", &[1, image])?,
        })
    }
}

impl PriorTransformer {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys, `ModelError::Cancelled`.
    pub fn load(config: &PriorConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("PriorTransformer", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &PriorConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The predicted image embeddings (B, clip_embed_dim), normalised; see `post_process`.
    pub fn forward(&self, input: &PriorInput) -> Result<Tensor> {
        let batch = self.check(input)?;
        let parts = &self.parts;
        let wide = |x: &Tensor| x.to_dtype(DType::F32)?.contiguous();
        let tokens = [
            parts.encoder_hidden_states_proj.forward(&wide(input.encoder_hidden_states)?)?,
            parts.embedding_proj.forward(&wide(input.proj_embedding)?)?.unsqueeze(1)?,
            self.time(input.timestep, batch)?.unsqueeze(1)?,
            parts.proj_in.forward(&wide(input.hidden_states)?)?.unsqueeze(1)?,
            parts.prd_embedding.repeat((batch, 1, 1))?,
        ];
        let mut x = Tensor::cat(&tokens, 1)?.broadcast_add(&parts.positional_embedding)?;
        let bias = input.attention_mask.map(|mask| self.bias(mask)).transpose()?;
        for layer in &parts.layers {
            input.cancel.check()?;
            x = layer.forward(&x, bias.as_ref().map_or(Mask::None, Mask::Bias))?;
        }
        let last = x.narrow(1, x.dim(1)? - 1, 1)?.squeeze(1)?.contiguous()?;
        Ok(parts.proj_to_clip_embeddings.forward(&parts.norm_out.forward(&last)?)?)
    }

    /// Predicted embeddings (B, clip_embed_dim) as the image encoder gives them. Source: `post_process_latents` there.
    pub fn post_process(&self, embeds: &Tensor) -> Result<Tensor> {
        if embeds.rank() != 2 || embeds.dim(1)? != self.config.clip_embed_dim {
            return Err(ModelError::shape("prior_latents", format!("shape (B, {})", self.config.clip_embed_dim), embeds));
        }
        Ok(embeds.to_dtype(DType::F32)?.broadcast_mul(&self.parts.clip_std)?.broadcast_add(&self.parts.clip_mean)?)
    }

    fn check(&self, input: &PriorInput) -> Result<usize> {
        let config = &self.config;
        let batch = input.hidden_states.dims().first().copied().unwrap_or(0);
        let shapes = [
            ("hidden_states", input.hidden_states, vec![batch, config.embedding_dim]),
            ("proj_embedding", input.proj_embedding, vec![batch, config.embedding_proj_dim]),
            ("encoder_hidden_states", input.encoder_hidden_states, vec![batch, config.num_embeddings, config.embedding_dim]),
        ];
        let mask = input.attention_mask.map(|mask| ("attention_mask", mask, vec![batch, config.num_embeddings]));
        for (name, tensor, wanted) in shapes.into_iter().chain(mask) {
            if batch == 0 || tensor.dims() != wanted {
                return Err(ModelError::shape(name, format!("shape {wanted:?}"), tensor));
            }
        }
        if !input.timestep.is_finite() {
            return Err(ModelError::argument("timestep", "a finite number", input.timestep));
        }
        Ok(batch)
    }

    fn time(&self, timestep: f64, batch: usize) -> Result<Tensor> {
        let sinusoids = Sinusoids { width: self.config.inner(), flip_sin_to_cos: true, freq_shift: 0.0 };
        let [first, second] = &self.parts.time_embedding;
        let embedded = sinusoids.forward(&vec![timestep; batch], self.parts.clip_mean.device())?;
        Ok(second.forward(&first.forward_with(&embedded, &Epilogue { activation: Some(Activation::Silu), ..Default::default() })?)?)
    }

    /// Mask (B, S) -> additive bias (B, 1, L, L): no token sees a later one, none a dropped one.
    fn bias(&self, mask: &Tensor) -> Result<Tensor> {
        let tokens = self.config.num_embeddings + ADDED_TOKENS;
        let causal: Vec<f32> = (0..tokens * tokens).map(|i| if i % tokens > i / tokens { HIDDEN } else { 0.0 }).collect();
        let causal = Tensor::from_vec(causal, (1, 1, tokens, tokens), mask.device())?;
        let dropped = ((1.0 - mask.to_dtype(DType::F32)?)? * f64::from(HIDDEN))?.pad_with_zeros(1, 0, ADDED_TOKENS)?;
        Ok(causal.broadcast_add(&dropped.reshape((mask.dim(0)?, 1, 1, tokens))?)?)
    }
}
