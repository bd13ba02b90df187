use super::config::UnionConfig;
use super::model::check_control;
use super::trunk::{ControlNetOutput, Strength, Trunk};
use crate::blocks::conditioning::TimeEmbedding;
use crate::blocks::embeddings::{Sinusoids, TimestepEmbedding};
use crate::blocks::repeated::distinct;
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, LoadContext, LoadReport};
use crate::unet::UNetInput;
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{activation, attention, Activation, Epilogue, Heads, LayerNorm, Linear, Mask};

/// Arguments of a ControlNetUnionModel besides those that it shares with the UNet.
pub struct UnionInput<'a> {
    /// Latents, timesteps, text and SDXL's conditions, as the UNet gets them.
    pub unet: UNetInput<'a>,
    /// Control images (B, 3, H, W) in [0, 1], one per entry of `control_type_idx`.
    pub controlnet_cond: &'a [Tensor],
    /// (B, num_control_type): 1 for each type in use.
    pub control_type: &'a Tensor,
    /// The type of each image.
    pub control_type_idx: &'a [usize],
    /// One for all images or one each; default 1.
    pub conditioning_scale: &'a [f64],
    /// Weakens the early residuals; default off.
    pub guess_mode: bool,
}

/// One ControlNet for several kinds of control image. Immutable and re-entrant. Source: diffusers controlnet_union.py `ControlNetUnionModel`.
pub struct ControlNetUnionModel {
    config: UnionConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    trunk: Trunk,
    task_embedding: Tensor,
    layers: Vec<FusionLayer>,
    spatial_ch_projs: Linear,
    control_type_proj: Sinusoids,
    control_add_embedding: TimestepEmbedding,
}

/// A transformer layer over the control images' means. Source: diffusers controlnet_union.py `ResidualAttentionBlock`.
struct FusionLayer {
    ln_1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    heads: Heads,
}

impl FusionLayer {
    fn new(b: &Builder, width: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            ln_1: b.layer_norm("ln_1", width, 1e-5)?,
            in_proj: b.linear_of(("attn.in_proj_weight", "attn.in_proj_bias"), width, 3 * width)?,
            out_proj: b.linear("attn.out_proj", width, width, Bias::Yes)?,
            ln_2: b.layer_norm("ln_2", width, 1e-5)?,
            c_fc: b.linear("mlp.c_fc", width, 4 * width, Bias::Yes)?,
            c_proj: b.linear("mlp.c_proj", 4 * width, width, Bias::Yes)?,
            heads: b.heads(heads, width / heads),
        })
    }

    /// x (N, B, C): attention runs over the batch, because the reference gives (B, N, C) to a module that expects the sequence first.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(2)?;
        let qkv = self.in_proj.forward(&self.ln_1.forward(x)?)?;
        let part = |i: usize| qkv.narrow(2, i * width, width)?.contiguous();
        let mixed = attention(&part(0)?, &part(1)?, &part(2)?, self.heads, Mask::None)?;
        let x = self.out_proj.forward_with(&mixed, &Epilogue { residual: Some(x), ..Default::default() })?;
        let hidden = self.c_fc.forward_with(&self.ln_2.forward(&x)?, &Epilogue { activation: Some(Activation::QuickGelu), ..Default::default() })?;
        Ok(self.c_proj.forward_with(&hidden, &Epilogue { residual: Some(&x), ..Default::default() })?)
    }
}

impl Parts {
    fn new(b: &Builder, config: &UnionConfig) -> Result<Self> {
        let unet = &config.control.unet;
        let width = config.num_trans_channel;
        let sinusoids = Sinusoids { width: config.addition_time_embed_dim, flip_sin_to_cos: unet.flip_sin_to_cos, freq_shift: unet.freq_shift };
        let types = config.addition_time_embed_dim * config.num_control_type;
        let layer = |i| FusionLayer::new(&b.pp(format!("transformer_layes.{i}")), width, config.num_trans_head);
        Ok(Self {
            trunk: Trunk::new(b, &config.control)?,
            task_embedding: b.tensor_f32("task_embedding", &[config.num_control_type, width])?,
            layers: (0..config.num_trans_layer).map(layer).collect::<Result<_>>()?,
            spatial_ch_projs: b.linear("spatial_ch_projs", width, config.num_proj_channel, Bias::Yes)?,
            control_type_proj: sinusoids,
            control_add_embedding: TimestepEmbedding::new(&b.pp("control_add_embedding"), types, unet.time_embed_dim, Activation::Silu)?,
        })
    }
}

impl ControlNetUnionModel {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &UnionConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("ControlNetUnionModel", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &UnionConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The residuals for the UNet. Errors: `ModelError::Shape` and `ModelError::Argument` before work starts, `ModelError::Cancelled`.
    pub fn forward(&self, input: &UnionInput) -> Result<ControlNetOutput> {
        let (unet, config) = (&input.unet, &self.config.control.unet);
        let latent = unet.check(config.in_channels, config.context)?;
        let scales = self.check(input, latent.0)?;
        let trunk = &self.parts.trunk;
        let time = self.time(input, latent.0)?;
        let x = self.fuse(&trunk.down.start(unet.sample, config)?, input, &scales, latent)?;
        let x = x.narrow(0, 0, distinct([&x, &time.raw])?)?;
        let scale = if scales.len() == 1 { scales[0] } else { 1.0 };
        trunk.forward(x, unet, &time, Strength { scale, guess_mode: input.guess_mode })
    }

    fn check(&self, input: &UnionInput, batch: usize) -> Result<Vec<f64>> {
        let (images, types) = (input.controlnet_cond.len(), self.config.num_control_type);
        if images == 0 || images != input.control_type_idx.len() {
            return Err(ModelError::argument("controlnet_cond", "one image for each control_type_idx", format!("{images} images")));
        }
        if let Some(index) = input.control_type_idx.iter().find(|&&index| index >= types) {
            return Err(ModelError::argument("control_type_idx", format!("numbers below {types}"), index));
        }
        if input.control_type.dims() != [batch, types] {
            return Err(ModelError::shape("control_type", format!("shape ({batch}, {types})"), input.control_type));
        }
        if let Some(bad) = input.conditioning_scale.iter().find(|scale| !scale.is_finite()) {
            return Err(ModelError::argument("conditioning_scale", "finite numbers", bad));
        }
        match input.conditioning_scale {
            [] => Ok(vec![1.0; images]),
            [scale] => Ok(vec![*scale; images]),
            scales if scales.len() == images => Ok(scales.to_vec()),
            scales => Err(ModelError::argument("conditioning_scale", format!("1 or {images} numbers"), format!("{} numbers", scales.len()))),
        }
    }

    fn time(&self, input: &UnionInput, batch: usize) -> Result<TimeEmbedding> {
        let parts = &self.parts;
        let time = parts.trunk.down.time(&input.unet, batch)?;
        let types: Vec<f64> = input.control_type.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let embeds = parts.control_type_proj.forward(&types, input.control_type.device())?.reshape((batch, ()))?;
        let raw = (time.raw + parts.control_add_embedding.forward(&embeds, None)?)?;
        Ok(TimeEmbedding { activated: activation(&raw, self.config.control.unet.act_fn)?, raw })
    }

    /// The latents x (B, h, w, C) plus all control images, each shifted by what the fusion layers make of its mean.
    fn fuse(&self, x: &Tensor, input: &UnionInput, scales: &[f64], latent: (usize, usize, usize)) -> Result<Tensor> {
        let (parts, embedding) = (&self.parts, &self.parts.trunk.cond_embedding);
        let is_single = scales.len() == 1;
        let scales: Vec<f64> = scales.iter().map(|&scale| if is_single { 1.0 } else { scale }).collect();
        let (mut conditions, mut sequence) = (Vec::new(), Vec::new());
        for ((image, &index), &scale) in input.controlnet_cond.iter().zip(input.control_type_idx).zip(&scales) {
            input.unet.cancel.check()?;
            let image = check_control(image, "controlnet_cond", self.config.control.conditioning_channels, latent, embedding.factor())?;
            let condition = embedding.forward(&image, None)?;
            let mean = condition.mean((1, 2))?.broadcast_add(&parts.task_embedding.get(index)?)?;
            sequence.push((mean * scale)?);
            conditions.push((condition * scale)?);
        }
        sequence.push(x.mean((1, 2))?);
        let mut tokens = Tensor::stack(&sequence, 0)?;
        for layer in &parts.layers {
            tokens = layer.forward(&tokens)?;
        }
        let mut fused = x.clone();
        for (i, (condition, &scale)) in conditions.iter().zip(&scales).enumerate() {
            let alpha = (parts.spatial_ch_projs.forward(&tokens.get(i)?.contiguous()?)? * scale)?;
            let alpha = alpha.unsqueeze(1)?.unsqueeze(1)?;
            fused = (fused + condition)?.broadcast_add(&alpha)?;
        }
        Ok(fused)
    }
}
