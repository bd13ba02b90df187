//! `NativeAutoencoderTiny`: the distilled autoencoder TAESD.

use crate::error::Result;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::vae::{AutoencoderTiny, TinyVaeConfig};

network_class!("A loaded tiny autoencoder." NativeAutoencoderTiny(AutoencoderTiny, file) {
    load, "Promise<NativeAutoencoderTiny>": |json, weights, context| AutoencoderTiny::load(&TinyVaeConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeAutoencoderTiny {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let image = image.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, cancel| model.encode(&image, cancel), NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let latents = latents.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, cancel| model.decode(&latents, cancel), NativeTensor::wrap)?)
    }
}
