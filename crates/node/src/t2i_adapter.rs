//! `NativeT2IAdapter`: features of a control image for the descending half of a UNet.

use crate::error::Result;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::adapters::{T2IAdapter, T2IAdapterConfig};

network_class!("A loaded T2I-Adapter." NativeT2IAdapter(T2IAdapter, file) {
    load, "Promise<NativeT2IAdapter>": |json, weights, context| T2IAdapter::load(&T2IAdapterConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeT2IAdapter {
    #[napi(catch_unwind, ts_return_type = "Promise<Array<NativeTensor>>")]
    pub fn forward<'env>(&self, env: &'env Env, image: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let image = image.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, cancel| model.forward(&image, cancel), NativeTensor::wrap_all)?)
    }
}
