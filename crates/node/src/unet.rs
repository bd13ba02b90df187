//! `NativeUnet`: the denoising UNet.

use crate::allocator;
use crate::error::{Failure, Outcome, Result};
use crate::estimate::{need_of, saving};
use crate::ip_adapter::NativeIpAdapter;
use crate::load::Share;
use crate::lora::{adapted, adapters_of, context_of, NativeAdapter};
use crate::motion::{NativeFrameWindows, NativeMotion, OwnedMotion};
use crate::network::network_class;
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_kernels::dry;
use nd_models::adapters::{ImagePrompt, IpAdapter, MotionAdapter};
use nd_models::unet::{FreeU, Perturbation, UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::CancelToken;
use std::sync::Arc;

/// FreeU's factors.
#[napi(object, object_to_js = false)]
pub struct NativeFreeU {
    pub s1: f64,
    pub s2: f64,
    pub b1: f64,
    pub b2: f64,
}

/// An image prompt of one evaluation.
#[napi(object, object_to_js = false)]
pub struct NativeImagePrompt<'env> {
    pub adapter: ClassInstance<'env, NativeIpAdapter>,
    pub tokens: ClassInstance<'env, NativeTensor>,
    /// One for all cross-attention layers, or one each.
    pub scales: Vec<f64>,
    pub mask: Option<ClassInstance<'env, NativeTensor>>,
}

/// Self-attention layers, by number, that the last samples go through unmixed.
#[napi(object, object_to_js = false)]
pub struct NativePerturbation {
    pub layers: Vec<u32>,
    pub samples: u32,
}

/// Arguments of one evaluation, in diffusers' names and shapes.
#[napi(object, object_to_js = false)]
pub struct NativeUnetInput<'env> {
    pub sample: ClassInstance<'env, NativeTensor>,
    pub timesteps: Vec<f64>,
    /// Only models that read `image_embeds` need none.
    pub encoder_hidden_states: Option<ClassInstance<'env, NativeTensor>>,
    pub class_labels: Option<ClassInstance<'env, NativeTensor>>,
    pub timestep_cond: Option<ClassInstance<'env, NativeTensor>>,
    pub text_embeds: Option<ClassInstance<'env, NativeTensor>>,
    pub time_ids: Option<ClassInstance<'env, NativeTensor>>,
    pub image_embeds: Option<ClassInstance<'env, NativeTensor>>,
    pub hint: Option<ClassInstance<'env, NativeTensor>>,
    pub encoder_attention_mask: Option<ClassInstance<'env, NativeTensor>>,
    pub down_block_additional_residuals: Option<Vec<ClassInstance<'env, NativeTensor>>>,
    pub mid_block_additional_residual: Option<ClassInstance<'env, NativeTensor>>,
    pub down_intrablock_additional_residuals: Option<Vec<ClassInstance<'env, NativeTensor>>>,
    pub image_prompts: Option<Vec<NativeImagePrompt<'env>>>,
    pub perturbed: Option<NativePerturbation>,
    pub freeu: Option<NativeFreeU>,
    pub motion: Option<ClassInstance<'env, NativeMotion>>,
    /// Frames of each video; only with `motion`.
    pub frames: Option<u32>,
    pub windows: Option<NativeFrameWindows>,
}

/// The arguments with shares of their tensors, so that they can move to the engine thread.
pub struct UnetArguments {
    sample: Tensor,
    timesteps: Vec<f64>,
    encoder_hidden_states: Tensor,
    class_labels: Option<Tensor>,
    timestep_cond: Option<Tensor>,
    text_embeds: Option<Tensor>,
    time_ids: Option<Tensor>,
    image_embeds: Option<Tensor>,
    hint: Option<Tensor>,
    encoder_attention_mask: Option<Tensor>,
    down_block_additional_residuals: Vec<Tensor>,
    mid_block_additional_residual: Option<Tensor>,
    down_intrablock_additional_residuals: Vec<Tensor>,
    image_prompts: Vec<OwnedPrompt>,
    perturbed: Option<(Vec<usize>, usize)>,
    freeu: Option<FreeU>,
    motion: Option<OwnedMotion>,
}

struct OwnedPrompt {
    adapter: Arc<Share<IpAdapter>>,
    tokens: Tensor,
    scales: Vec<f64>,
    mask: Option<Tensor>,
}

/// The adapters of one evaluation.
struct Adapters {
    /// One for each image prompt.
    images: Vec<Arc<IpAdapter>>,
    motion: Option<Arc<MotionAdapter>>,
}

impl OwnedPrompt {
    /// What the UNet gets.
    fn borrowed<'a>(&'a self, adapter: &'a IpAdapter) -> ImagePrompt<'a> {
        ImagePrompt { adapter, tokens: &self.tokens, scales: &self.scales, mask: self.mask.as_ref() }
    }

    fn new(prompt: NativeImagePrompt) -> Outcome<Self> {
        let NativeImagePrompt { adapter, tokens, scales, mask } = prompt;
        Ok(Self { adapter: adapter.share()?, tokens: tokens.tensor()?.clone(), scales, mask: optional(mask)? })
    }
}

impl UnetArguments {
    pub fn new(input: NativeUnetInput) -> Outcome<Self> {
        let image_embeds = optional(input.image_embeds)?;
        let need = || Failure::expected("a Tensor", "encoderHiddenStates", "nothing");
        Ok(Self {
            sample: input.sample.tensor()?.clone(),
            timesteps: input.timesteps,
            encoder_hidden_states: optional(input.encoder_hidden_states)?.or_else(|| image_embeds.clone()).ok_or_else(need)?,
            image_embeds,
            hint: optional(input.hint)?,
            class_labels: optional(input.class_labels)?,
            timestep_cond: optional(input.timestep_cond)?,
            text_embeds: optional(input.text_embeds)?,
            time_ids: optional(input.time_ids)?,
            encoder_attention_mask: optional(input.encoder_attention_mask)?,
            down_block_additional_residuals: tensors(input.down_block_additional_residuals)?,
            mid_block_additional_residual: optional(input.mid_block_additional_residual)?,
            down_intrablock_additional_residuals: tensors(input.down_intrablock_additional_residuals)?,
            image_prompts: input.image_prompts.unwrap_or_default().into_iter().map(OwnedPrompt::new).collect::<Outcome<_>>()?,
            perturbed: input.perturbed.map(|given| (given.layers.iter().map(|&layer| layer as usize).collect(), given.samples as usize)),
            freeu: input.freeu.map(|NativeFreeU { s1, s2, b1, b2 }| FreeU { s1, s2, b1, b2 }),
            motion: input.motion.map(|motion| OwnedMotion::new(&motion, input.frames.unwrap_or(1), input.windows)).transpose()?,
        })
    }

    /// The adapters of the arguments, read if they are not held.
    fn adapters(&self, cancel: &CancelToken) -> Outcome<Adapters> {
        let images = self.image_prompts.iter().map(|prompt| prompt.adapter.model(cancel)).collect::<Outcome<_>>()?;
        Ok(Adapters { images, motion: self.motion.as_ref().map(|motion| motion.model(cancel)).transpose()? })
    }

    /// Evaluates a UNet by these arguments.
    fn forward(&self, model: &UNet2DConditionModel, adapters: &Adapters, cancel: &CancelToken) -> nd_models::Result<Tensor> {
        let prompts = self.image_prompts.iter().zip(&adapters.images);
        let image_prompts: Vec<_> = prompts.map(|(prompt, adapter)| prompt.borrowed(adapter)).collect();
        let motion = self.motion.as_ref().zip(adapters.motion.as_deref()).map(|(motion, adapter)| motion.borrowed(adapter));
        model.forward(&UNetInput { image_prompts: &image_prompts, motion, ..self.plain(cancel) })
    }

    /// The arguments as the models take them, without adapters.
    pub fn plain<'a>(&'a self, cancel: &'a CancelToken) -> UNetInput<'a> {
        UNetInput {
            class_labels: self.class_labels.as_ref(),
            timestep_cond: self.timestep_cond.as_ref(),
            text_embeds: self.text_embeds.as_ref(),
            time_ids: self.time_ids.as_ref(),
            image_embeds: self.image_embeds.as_ref(),
            hint: self.hint.as_ref(),
            encoder_attention_mask: self.encoder_attention_mask.as_ref(),
            down_block_additional_residuals: &self.down_block_additional_residuals,
            mid_block_additional_residual: self.mid_block_additional_residual.as_ref(),
            down_intrablock_additional_residuals: &self.down_intrablock_additional_residuals,
            perturbed: self.perturbed.as_ref().map(|(layers, samples)| Perturbation { layers, samples: *samples }),
            freeu: self.freeu,
            ..UNetInput::new(&self.sample, &self.timesteps, &self.encoder_hidden_states, cancel)
        }
    }
}

fn optional(tensor: Option<ClassInstance<NativeTensor>>) -> Outcome<Option<Tensor>> {
    tensor.map(|tensor| tensor.tensor().cloned()).transpose()
}

/// Shares of a list of tensors.
pub fn tensors(list: Option<Vec<ClassInstance<NativeTensor>>>) -> Outcome<Vec<Tensor>> {
    list.unwrap_or_default().iter().map(|tensor| tensor.tensor().cloned()).collect()
}

network_class!("A loaded UNet." NativeUnet(UNet2DConditionModel, file) {
    load, "Promise<NativeUnet>": |json, weights, context| UNet2DConditionModel::load(&UNetConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeUnet {
    /// Evaluates the network; `saves_memory` keeps no second form of the convolutions' weights.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        input: NativeUnetInput,
        token: &NativeCancelToken,
        saves_memory: Option<bool>,
    ) -> Result<Object<'env>> {
        let input = UnetArguments::new(input)?;
        let work = move |model: &UNet2DConditionModel, cancel: &CancelToken| {
            allocator::note_step();
            let adapters = input.adapters(cancel)?;
            Outcome::Ok(saving(saves_memory == Some(true), || input.forward(model, &adapters, cancel))?)
        };
        Ok(self.handle.run(env, token, work, NativeTensor::wrap)?)
    }

    /// What `forward` would need, without computing anything.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeNeed>")]
    pub fn need<'env>(&self, env: &'env Env, input: NativeUnetInput, token: &NativeCancelToken, saves_memory: bool) -> Result<Object<'env>> {
        let (share, cancel, input) = (self.handle.share()?, token.token.clone(), UnetArguments::new(input)?);
        let work = move || {
            let adapters = dry::run(|| input.adapters(&cancel)).0?;
            need_of(saves_memory, share.shapes(&cancel)?, |model| input.forward(model, &adapters, &cancel))
        };
        Ok(spawn(env, &token.token, work, |_, need| Ok(need))?)
    }

    /// This UNet with these adapters and no others.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeUnet>")]
    pub fn with_adapters<'env>(&self, env: &'env Env, adapters: Vec<NativeAdapter>, token: &NativeCancelToken) -> Result<Object<'env>> {
        let adapters = adapters_of(adapters)?;
        let work = move |model: &UNet2DConditionModel, cancel: &CancelToken| model.with_adapters(&adapters, context_of(cancel));
        Ok(self.handle.run(env, token, work, |env, model| Ok(NativeUnet { handle: adapted(env, model)? }))?)
    }

    /// Names of the cross-attention layers that image prompts attach to.
    #[napi(getter, catch_unwind)]
    pub fn image_layers(&self) -> Result<Vec<String>> {
        Ok(self.handle.shapes(|model| model.image_layers().to_vec())?)
    }

    /// Names of the self-attention layers over the image.
    #[napi(getter, catch_unwind)]
    pub fn self_attention_layers(&self) -> Result<Vec<String>> {
        Ok(self.handle.shapes(|model| model.self_attention_layers().to_vec())?)
    }
}

impl NativeUnet {
    /// A share of it, unless it is disposed.
    pub fn share(&self) -> Outcome<Arc<Share<UNet2DConditionModel>>> {
        self.handle.share()
    }
}
