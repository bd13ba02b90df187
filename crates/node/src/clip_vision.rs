//! `NativeClipVision`: CLIP's image encoder.

use crate::error::{Failure, Outcome, Result, INTERNAL};
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::clip::{ClipVisionConfig, ClipVisionModel};
use nd_models::CancelToken;

/// What the encoder gives; `hiddenStates` is empty unless asked for.
#[napi(object, object_from_js = false)]
pub struct NativeClipVisionOutput {
    pub last_hidden_state: NativeTensor,
    pub pooler_output: NativeTensor,
    pub image_embeds: Option<NativeTensor>,
    pub hidden_states: Vec<NativeTensor>,
}

network_class!("A loaded image encoder." NativeClipVision(ClipVisionModel, file) {
    load, "Promise<NativeClipVision>": |json, weights, context| ClipVisionModel::load(&ClipVisionConfig::from_json(json)?, weights, context);
    load_with_projection, "Promise<NativeClipVision>": |json, weights, context| ClipVisionModel::load_with_projection(&ClipVisionConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeClipVision {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeClipVisionOutput>")]
    pub fn forward<'env>(&self, env: &'env Env, pixel_values: &NativeTensor, hidden_states: bool, token: &NativeCancelToken) -> Result<Object<'env>> {
        let pixels = pixel_values.tensor()?.clone();
        let work = move |model: &ClipVisionModel, cancel: &CancelToken| {
            let output = model.forward(&pixels, cancel)?;
            let is_projected = output.image_embeds.is_some();
            let mut tensors = vec![output.last_hidden_state, output.pooler_output];
            tensors.extend(output.image_embeds);
            tensors.extend(if hidden_states { output.hidden_states } else { Vec::new() });
            nd_models::Result::Ok((tensors, is_projected))
        };
        Ok(self.handle.run(env, token, work, finish)?)
    }
}

/// One account for tensors that share a storage, as the last hidden state does with the last of all.
fn finish(env: &Env, (tensors, is_projected): (Vec<Tensor>, bool)) -> Outcome<NativeClipVisionOutput> {
    let mut wrapped = NativeTensor::wrap_all(env, tensors)?.into_iter();
    let missing = || Failure::new(INTERNAL, "Expected a hidden state from the image encoder but received none");
    Ok(NativeClipVisionOutput {
        last_hidden_state: wrapped.next().ok_or_else(missing)?,
        pooler_output: wrapped.next().ok_or_else(missing)?,
        image_embeds: if is_projected { wrapped.next() } else { None },
        hidden_states: wrapped.collect(),
    })
}
