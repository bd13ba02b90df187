//! `NativeVqModel`: the autoencoder with a codebook, MoVQ among them.

use crate::error::Result;
use crate::estimate::saving;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::vae::{Quantize, VqConfig, VqModel};
use nd_models::CancelToken;

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

network_class!("A loaded autoencoder with a codebook." NativeVqModel(VqModel, file) {
    load, "Promise<NativeVqModel>": |json, weights, context| VqModel::load(&VqConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeVqModel {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let image = image.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, cancel| model.encode(&image, cancel), NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, options: NativeVqOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let latents = latents.tensor()?.clone();
        let work = move |model: &VqModel, cancel: &CancelToken| saving(options.saves_memory, || model.decode(&latents, options.quantize(), cancel));
        Ok(self.handle.run(env, token, work, NativeTensor::wrap)?)
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
        let latents = latents.tensor()?.clone();
        Ok(self.handle.need(env, token, options.saves_memory, move |model, cancel| model.decode(&latents, Quantize::Skip, cancel))?)
    }
}
