//! `NativeClip`: CLIP's text encoder.

use crate::error::{Failure, Outcome, Result};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::clip::{ClipTextConfig, ClipTextModel};

/// What the encoder gives; `hiddenStates` is empty unless asked for.
#[napi(object, object_from_js = false)]
pub struct NativeClipOutput {
    pub last_hidden_state: NativeTensor,
    pub pooler_output: NativeTensor,
    pub text_embeds: Option<NativeTensor>,
    pub hidden_states: Vec<NativeTensor>,
}

network_class!("A loaded text encoder." NativeClip(ClipTextModel, file));

#[napi]
impl NativeClip {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeClip>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| ClipTextModel::load(&ClipTextConfig::from_json(json)?, weights, context),
            |handle| NativeClip { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeClip>")]
    pub fn load_with_projection<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| ClipTextModel::load_with_projection(&ClipTextConfig::from_json(json)?, weights, context),
            |handle| NativeClip { handle },
        )?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeClipOutput>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        input_ids: &NativeTensor,
        attention_mask: Option<&NativeTensor>,
        hidden_states: bool,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let (model, cancel) = (self.handle.get()?, token.token.clone());
        let ids = input_ids.tensor()?.clone();
        let mask = attention_mask.map(|mask| mask.tensor().cloned()).transpose()?;
        let work = move || {
            let output = model.forward_masked(&ids, mask.as_ref(), &cancel)?;
            let mut tensors = vec![output.last_hidden_state, output.pooler_output];
            let embeds = output.text_embeds.is_some();
            tensors.extend(output.text_embeds);
            tensors.extend(if hidden_states { output.hidden_states } else { Vec::new() });
            Ok((tensors, embeds))
        };
        Ok(spawn(env, &token.token, work, finish)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn final_layer_norm<'env>(&self, env: &'env Env, hidden: &NativeTensor, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, hidden) = (self.handle.get()?, hidden.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(model.final_layer_norm(&hidden)?), NativeTensor::wrap)?)
    }

    /// The table of token embeddings (vocab_size, hidden).
    #[napi(catch_unwind)]
    pub fn token_embedding(&self, env: Env) -> Result<NativeTensor> {
        Ok(NativeTensor::wrap(&env, self.handle.get()?.token_embedding().clone())?)
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
