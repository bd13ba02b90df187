//! `NativeVqModel`: the autoencoder with a codebook, MoVQ among them.

use crate::error::Result;
use crate::estimate::{need_of, saving};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::vae::{Quantize, VqConfig, VqModel};

/// How latents are decoded.
#[napi(object, object_to_js = false)]
pub struct NativeVqOptions {
    /// Decodes latents as they are instead of the nearest vectors of the codebook.
    pub force_not_quantize: bool,
    /// Keeps no second form of the convolutions' weights.
    pub saves_memory: bool,
}

impl NativeVqOptions {
    fn quantize(&self) -> Quantize {
        if self.force_not_quantize {
            Quantize::Skip
        } else {
            Quantize::Nearest
        }
    }
}

network_class!("A loaded autoencoder with a codebook." NativeVqModel(VqModel, file));

#[napi]
impl NativeVqModel {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeVqModel>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| VqModel::load(&VqConfig::from_json(json)?, weights, context),
            |handle| NativeVqModel { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, image) = (self.handle.get()?, token.token.clone(), image.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(model.encode(&image, &cancel)?), NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, options: NativeVqOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, latents) = (self.handle.get()?, token.token.clone(), latents.tensor()?.clone());
        let work = move || Ok(saving(options.saves_memory, || model.decode(&latents, options.quantize(), &cancel))?);
        Ok(spawn(env, &token.token, work, NativeTensor::wrap)?)
    }

    /// What `decode` would need, without computing anything.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeNeed>")]
    pub fn decode_need<'env>(
        &self,
        env: &'env Env,
        latents: &NativeTensor,
        options: NativeVqOptions,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let (model, cancel, latents) = (self.handle.get()?, token.token.clone(), latents.tensor()?.clone());
        let work = move || need_of(options.saves_memory, model, |model| model.decode(&latents, Quantize::Skip, &cancel));
        Ok(spawn(env, &token.token, work, |_, need| Ok(need))?)
    }
}
