//! `NativeClip`: CLIP's text encoder.

use crate::error::{Failure, Outcome, Result};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::lora::{adapted, adapters_of, context_of, NativeAdapter};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
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
        let (share, cancel) = (self.handle.share()?, token.token.clone());
        let ids = input_ids.tensor()?.clone();
        let mask = attention_mask.map(|mask| mask.tensor().cloned()).transpose()?;
        let work = move || {
            let output = share.model(&cancel)?.forward_masked(&ids, mask.as_ref(), &cancel)?;
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
        let (share, cancel, hidden) = (self.handle.share()?, token.token.clone(), hidden.tensor()?.clone());
        Ok(spawn(env, &token.token, move || Ok(share.model(&cancel)?.final_layer_norm(&hidden)?), NativeTensor::wrap)?)
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
        let (share, adapters, context) = (self.handle.share()?, adapters_of(adapters)?, context_of(&token.token));
        let work = move || Ok(share.model(&context.cancel)?.with_adapters(component, &adapters, context)?);
        Ok(spawn(env, &token.token, work, |env, model| Ok(NativeClip { handle: adapted(env, model)? }))?)
    }

    /// This encoder with embeddings (n, hidden) for these token ids and no other added ones.
    #[napi(catch_unwind)]
    pub fn with_tokens(&self, env: Env, ids: Vec<u32>, embeddings: &NativeTensor) -> Result<NativeClip> {
        let model = self.handle.get()?.with_tokens(&ids, embeddings.tensor()?).map_err(Failure::from)?;
        Ok(NativeClip { handle: adapted(&env, model)? })
    }

    /// The table of token embeddings (vocab_size, hidden).
    #[napi(catch_unwind)]
    pub fn token_embedding(&self, env: Env) -> Result<NativeTensor> {
        Ok(NativeTensor::wrap(&env, self.handle.get()?.token_embedding().map_err(Failure::from)?)?)
    }
}

impl NativeClip {
    /// A share of the model, with shapes alone if its weights are not held.
    pub fn shapes(&self) -> Outcome<Arc<ClipTextModel>> {
        self.handle.share()?.shapes(&CancelToken::new())
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
