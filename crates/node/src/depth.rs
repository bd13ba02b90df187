//! `NativeDpt`: depth estimation.

use crate::error::Result;
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::depth::{DptConfig, DptForDepthEstimation};

network_class!("A loaded depth estimator." NativeDpt(DptForDepthEstimation, file));

#[napi]
impl NativeDpt {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeDpt>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| DptForDepthEstimation::load(&DptConfig::from_json(json)?, weights, context),
            |handle| NativeDpt { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn forward<'env>(&self, env: &'env Env, pixel_values: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel) = (self.handle.get()?, token.token.clone());
        let pixels = pixel_values.tensor()?.clone();
        Ok(spawn(env, &token.token, move || Ok(model.forward(&pixels, &cancel)?), NativeTensor::wrap)?)
    }
}
