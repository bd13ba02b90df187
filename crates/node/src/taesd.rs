//! `NativeAutoencoderTiny`: the distilled autoencoder TAESD.

use crate::error::Result;
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::vae::{AutoencoderTiny, TinyVaeConfig};

network_class!("A loaded tiny autoencoder." NativeAutoencoderTiny(AutoencoderTiny, file));

#[napi]
impl NativeAutoencoderTiny {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAutoencoderTiny>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| AutoencoderTiny::load(&TinyVaeConfig::from_json(json)?, weights, context),
            |handle| NativeAutoencoderTiny { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, image) = (self.handle.get()?, token.token.clone(), image.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(model.encode(&image, &cancel)?), NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, latents) = (self.handle.get()?, token.token.clone(), latents.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(model.decode(&latents, &cancel)?), NativeTensor::wrap)?)
    }
}
