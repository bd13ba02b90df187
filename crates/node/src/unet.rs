//! `NativeUnet`: the denoising UNet.

use crate::error::{Outcome, Result};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::unet::{FreeU, UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::CancelToken;

/// FreeU's factors.
#[napi(object, object_to_js = false)]
pub struct NativeFreeU {
    pub s1: f64,
    pub s2: f64,
    pub b1: f64,
    pub b2: f64,
}

/// Arguments of one evaluation, in diffusers' names and shapes.
#[napi(object, object_to_js = false)]
pub struct NativeUnetInput<'env> {
    pub sample: ClassInstance<'env, NativeTensor>,
    pub timesteps: Vec<f64>,
    pub encoder_hidden_states: ClassInstance<'env, NativeTensor>,
    pub class_labels: Option<ClassInstance<'env, NativeTensor>>,
    pub timestep_cond: Option<ClassInstance<'env, NativeTensor>>,
    pub text_embeds: Option<ClassInstance<'env, NativeTensor>>,
    pub time_ids: Option<ClassInstance<'env, NativeTensor>>,
    pub encoder_attention_mask: Option<ClassInstance<'env, NativeTensor>>,
    pub down_block_additional_residuals: Option<Vec<ClassInstance<'env, NativeTensor>>>,
    pub mid_block_additional_residual: Option<ClassInstance<'env, NativeTensor>>,
    pub down_intrablock_additional_residuals: Option<Vec<ClassInstance<'env, NativeTensor>>>,
    pub freeu: Option<NativeFreeU>,
}

/// The arguments with shares of their tensors, so that they can move to the engine thread.
struct Owned {
    sample: Tensor,
    timesteps: Vec<f64>,
    encoder_hidden_states: Tensor,
    class_labels: Option<Tensor>,
    timestep_cond: Option<Tensor>,
    text_embeds: Option<Tensor>,
    time_ids: Option<Tensor>,
    encoder_attention_mask: Option<Tensor>,
    down_block_additional_residuals: Vec<Tensor>,
    mid_block_additional_residual: Option<Tensor>,
    down_intrablock_additional_residuals: Vec<Tensor>,
    freeu: Option<FreeU>,
}

impl Owned {
    fn new(input: NativeUnetInput) -> Outcome<Self> {
        Ok(Self {
            sample: input.sample.tensor()?.clone(),
            timesteps: input.timesteps,
            encoder_hidden_states: input.encoder_hidden_states.tensor()?.clone(),
            class_labels: optional(input.class_labels)?,
            timestep_cond: optional(input.timestep_cond)?,
            text_embeds: optional(input.text_embeds)?,
            time_ids: optional(input.time_ids)?,
            encoder_attention_mask: optional(input.encoder_attention_mask)?,
            down_block_additional_residuals: list(input.down_block_additional_residuals)?,
            mid_block_additional_residual: optional(input.mid_block_additional_residual)?,
            down_intrablock_additional_residuals: list(input.down_intrablock_additional_residuals)?,
            freeu: input.freeu.map(|NativeFreeU { s1, s2, b1, b2 }| FreeU { s1, s2, b1, b2 }),
        })
    }

    fn borrowed<'a>(&'a self, cancel: &'a CancelToken) -> UNetInput<'a> {
        UNetInput {
            class_labels: self.class_labels.as_ref(),
            timestep_cond: self.timestep_cond.as_ref(),
            text_embeds: self.text_embeds.as_ref(),
            time_ids: self.time_ids.as_ref(),
            encoder_attention_mask: self.encoder_attention_mask.as_ref(),
            down_block_additional_residuals: &self.down_block_additional_residuals,
            mid_block_additional_residual: self.mid_block_additional_residual.as_ref(),
            down_intrablock_additional_residuals: &self.down_intrablock_additional_residuals,
            freeu: self.freeu,
            ..UNetInput::new(&self.sample, &self.timesteps, &self.encoder_hidden_states, cancel)
        }
    }
}

fn optional(tensor: Option<ClassInstance<NativeTensor>>) -> Outcome<Option<Tensor>> {
    tensor.map(|tensor| tensor.tensor().cloned()).transpose()
}

fn list(tensors: Option<Vec<ClassInstance<NativeTensor>>>) -> Outcome<Vec<Tensor>> {
    tensors.unwrap_or_default().iter().map(|tensor| tensor.tensor().cloned()).collect()
}

network_class!("A loaded UNet." NativeUnet(UNet2DConditionModel, file));

#[napi]
impl NativeUnet {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeUnet>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| UNet2DConditionModel::load(&UNetConfig::from_json(json)?, weights, context),
            |handle| NativeUnet { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn forward<'env>(&self, env: &'env Env, input: NativeUnetInput, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, input) = (self.handle.get()?, token.token.clone(), Owned::new(input)?);
        Ok(spawn(env, &token.token, move || Ok(model.forward(&input.borrowed(&cancel))?), NativeTensor::wrap)?)
    }
}
