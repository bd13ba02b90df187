//! `NativeT2IAdapter`: features of a control image for the descending half of a UNet.

use crate::error::Result;
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::adapters::{T2IAdapter, T2IAdapterConfig};

network_class!("A loaded T2I-Adapter." NativeT2IAdapter(T2IAdapter, file));

#[napi]
impl NativeT2IAdapter {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeT2IAdapter>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| T2IAdapter::load(&T2IAdapterConfig::from_json(json)?, weights, context),
            |handle| NativeT2IAdapter { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<Array<NativeTensor>>")]
    pub fn forward<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, cancel, image) = (self.handle.get()?, token.token.clone(), image.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(model.forward(&image, &cancel)?), NativeTensor::wrap_all)?)
    }
}
