//! `NativeDpt`: depth estimation.

use crate::error::Result;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::depth::{DptConfig, DptForDepthEstimation};

network_class!("A loaded depth estimator." NativeDpt(DptForDepthEstimation, file) {
    load, "Promise<NativeDpt>": |json, weights, context| DptForDepthEstimation::load(&DptConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeDpt {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn forward<'env>(&self, env: &'env Env, pixel_values: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let pixels = pixel_values.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, cancel| model.forward(&pixels, cancel), NativeTensor::wrap)?)
    }
}
