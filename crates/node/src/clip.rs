//! `NativeClip`: CLIP's text encoder.

use crate::error::{Failure, Outcome, Result};
use crate::load::Share;
use crate::lora::{adapted, adapters_of, context_of, derived, NativeAdapter};
use crate::network::network_class;
use crate::task::NativeCancelToken;
use crate::tensor::NativeTensor;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::clip::{ClipTextConfig, ClipTextModel};
use nd_models::lora::Component;
use nd_models::CancelToken;
use std::sync::Arc;

/// What the encoder gives; `hiddenStates` is empty unless asked for.
#[napi(object, object_from_js = false)]
pub struct NativeClipOutput {
    pub last_hidden_state: NativeTensor,
    pub pooler_output: NativeTensor,
    pub text_embeds: Option<NativeTensor>,
    pub hidden_states: Vec<NativeTensor>,
}

network_class!("A loaded text encoder." NativeClip(ClipTextModel, file) {
    load, "Promise<NativeClip>": |json, weights, context| ClipTextModel::load(&ClipTextConfig::from_json(json)?, weights, context);
    load_with_projection, "Promise<NativeClip>": |json, weights, context| ClipTextModel::load_with_projection(&ClipTextConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeClip {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeClipOutput>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        input_ids: &NativeTensor,
        attention_mask: Option<&NativeTensor>,
        hidden_states: bool,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let ids = input_ids.tensor()?.clone();
        let mask = attention_mask.map(|mask| mask.tensor().cloned()).transpose()?;
        let work = move |model: &ClipTextModel, cancel: &CancelToken| {
            let output = model.forward_masked(&ids, mask.as_ref(), cancel)?;
            let mut tensors = vec![output.last_hidden_state, output.pooler_output];
            let embeds = output.text_embeds.is_some();
            tensors.extend(output.text_embeds);
            tensors.extend(if hidden_states { output.hidden_states } else { Vec::new() });
            nd_models::Result::Ok((tensors, embeds))
        };
        Ok(self.handle.run(env, token, work, finish)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn final_layer_norm<'env>(&self, env: &'env Env, hidden: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let hidden = hidden.tensor()?.clone();
        Ok(self.handle.run(env, token, move |model, _| model.final_layer_norm(&hidden), NativeTensor::wrap)?)
    }

    /// This encoder with these adapters and no others; `component` is `text_encoder` or `text_encoder_2`.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeClip>")]
    pub fn with_adapters<'env>(
        &self,
        env: &'env Env,
        component: String,
        adapters: Vec<NativeAdapter>,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let component = match component.as_str() {
            "text_encoder" => Component::TextEncoder,
            "text_encoder_2" => Component::TextEncoder2,
            other => return Err(Failure::expected("'text_encoder' or 'text_encoder_2'", "component", format!("{other:?}")).into()),
        };
        let adapters = adapters_of(adapters)?;
        let work = move |model: &ClipTextModel, cancel: &CancelToken| model.with_adapters(component, &adapters, context_of(cancel));
        Ok(self.handle.run(env, token, work, |env, model| Ok(NativeClip { handle: adapted(env, model)? }))?)
    }

    /// This encoder with embeddings (n, hidden) for these token ids and no other added ones; one that is not held is read by the first call of the new one.
    #[napi(catch_unwind)]
    pub fn with_tokens(&self, env: Env, ids: Vec<u32>, embeddings: &NativeTensor) -> Result<NativeClip> {
        let embeddings = embeddings.tensor()?.clone();
        Ok(NativeClip { handle: derived(&env, &self.handle, move |model| model.with_tokens(&ids, &embeddings))? })
    }

    /// The table of token embeddings (vocab_size, hidden).
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn token_embedding<'env>(&self, env: &'env Env, token: &NativeCancelToken) -> Result<Object<'env>> {
        Ok(self.handle.run(env, token, |model, _| model.token_embedding(), NativeTensor::wrap)?)
    }
}

impl NativeClip {
    /// A share of it, unless it is disposed.
    pub fn share(&self) -> Outcome<Arc<Share<ClipTextModel>>> {
        self.handle.share()
    }
}

/// One account for tensors that share a storage, as the last hidden state may.
fn finish(env: &Env, (tensors, embeds): (Vec<Tensor>, bool)) -> Outcome<NativeClipOutput> {
    let mut wrapped = NativeTensor::wrap_all(env, tensors)?.into_iter();
    let missing = || Failure::new(crate::error::INTERNAL, "Expected a hidden state from the text encoder but received none");
    Ok(NativeClipOutput {
        last_hidden_state: wrapped.next().ok_or_else(missing)?,
        pooler_output: wrapped.next().ok_or_else(missing)?,
        text_embeds: if embeds { wrapped.next() } else { None },
        hidden_states: wrapped.collect(),
    })
}
