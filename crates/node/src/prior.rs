//! `NativePriorTransformer`: from text to an image embedding.

use crate::error::Result;
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::prior::{PriorConfig, PriorInput, PriorTransformer};
use nd_models::CancelToken;

/// Arguments of one evaluation, in diffusers' names and shapes.
#[napi(object, object_to_js = false)]
pub struct NativePriorInput<'env> {
    pub hidden_states: ClassInstance<'env, NativeTensor>,
    pub timestep: f64,
    pub proj_embedding: ClassInstance<'env, NativeTensor>,
    pub encoder_hidden_states: ClassInstance<'env, NativeTensor>,
    pub attention_mask: Option<ClassInstance<'env, NativeTensor>>,
}

network_class!("A loaded prior." NativePriorTransformer(PriorTransformer, file) {
    load, "Promise<NativePriorTransformer>": |json, weights, context| PriorTransformer::load(&PriorConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativePriorTransformer {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn forward<'env>(&self, env: &'env Env, input: NativePriorInput, token: &NativeCancelToken) -> Result<Object<'env>> {
        let timestep = input.timestep;
        let hidden_states = input.hidden_states.tensor()?.clone();
        let proj_embedding = input.proj_embedding.tensor()?.clone();
        let encoder_hidden_states = input.encoder_hidden_states.tensor()?.clone();
        let attention_mask = input.attention_mask.map(|mask| mask.tensor().cloned()).transpose()?;
        let work = move |model: &PriorTransformer, cancel: &CancelToken| {
            model.forward(&PriorInput {
                hidden_states: &hidden_states,
                timestep,
                proj_embedding: &proj_embedding,
                encoder_hidden_states: &encoder_hidden_states,
                attention_mask: attention_mask.as_ref(),
                cancel,
            })
        };
        Ok(self.handle.run(env, token, work, NativeTensor::wrap)?)
    }

    /// Predicted embeddings as the image encoder gives them.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn post_process<'env>(&self, env: &'env Env, embeds: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let embeds = embeds.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, _| model.post_process(&embeds), NativeTensor::wrap)?)
    }
}
