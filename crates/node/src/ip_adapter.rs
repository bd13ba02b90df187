//! `NativeIpAdapter`: image prompts for a UNet.

use crate::error::{Failure, Outcome, Result};
use crate::load::Share;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::adapters::{downsample_image_mask, IpAdapter};
use std::sync::Arc;

network_class!("A loaded IP-Adapter; `config` tells what its weights say." NativeIpAdapter(IpAdapter, file) {
    load, "Promise<NativeIpAdapter>": |_, weights, context| IpAdapter::load(weights, context);
});

impl NativeIpAdapter {
    /// A share of the adapter, unless it is disposed.
    pub fn share(&self) -> Outcome<Arc<Share<IpAdapter>>> {
        self.handle.share()
    }
}

#[napi]
impl NativeIpAdapter {
    /// Image embeddings to the tokens that the cross-attention layers read.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn project<'env>(&self, env: &'env Env, image_embeds: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let embeds = image_embeds.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, _| model.project(&embeds), NativeTensor::wrap)?)
    }
}

/// The mask of image `index` in (1, N, H, W) at the resolution of `queries` tokens: (1, queries, 1).
#[napi(catch_unwind)]
pub fn downsample_ip_adapter_mask(env: Env, mask: &NativeTensor, index: u32, queries: u32) -> Result<NativeTensor> {
    let small = downsample_image_mask(mask.tensor()?, index as usize, queries as usize).map_err(Failure::from)?;
    Ok(NativeTensor::wrap(&env, small)?)
}
