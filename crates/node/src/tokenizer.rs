//! `NativeTokenizer`: CLIP's byte-pair tokenizer.

use crate::error::{Failure, Outcome, Result, CONFIG, WEIGHTS};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::{Device, Tensor};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::tokenizer::{ClipTokenizer, EncodeOptions, Padding, SpecialTokens};
use nd_models::ModelError;

/// How texts become ids.
#[napi(object, object_to_js = false)]
pub struct NativeEncodeOptions {
    #[napi(ts_type = "'none' | 'longest' | 'max_length'")]
    pub padding: String,
    pub truncation: bool,
    pub max_length: Option<u32>,
    pub add_special_tokens: bool,
}

/// Ids and mask (B, L) as i64, and for each text the part that was cut away.
#[napi(object, object_from_js = false)]
pub struct NativeEncoding {
    pub input_ids: NativeTensor,
    pub attention_mask: NativeTensor,
    pub truncated: Vec<String>,
}

/// A tokenizer; `addTokens` is the only change it takes.
#[napi]
pub struct NativeTokenizer {
    inner: ClipTokenizer,
}

#[napi]
impl NativeTokenizer {
    /// Reads the folder `path`; its vocabulary may lie in another one.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTokenizer>")]
    pub fn load<'env>(env: &'env Env, path: String, token: &NativeCancelToken, vocabulary: Option<String>) -> Result<Object<'env>> {
        let work = move || ClipTokenizer::from_dirs(&path, vocabulary.as_ref().unwrap_or(&path)).map_err(as_config);
        Ok(spawn(env, &token.token, work, |_, inner| Ok(NativeTokenizer { inner }))?)
    }

    #[napi(catch_unwind)]
    pub fn encode(&self, env: Env, texts: Vec<String>, options: NativeEncodeOptions) -> Result<NativeEncoding> {
        let padding = match options.padding.as_str() {
            "none" => Padding::None,
            "longest" => Padding::Longest,
            "max_length" => Padding::MaxLength,
            other => return Err(Failure::expected("'none', 'longest' or 'max_length'", "padding", format!("{other:?}")).into()),
        };
        let options = EncodeOptions {
            padding,
            truncation: options.truncation,
            max_length: options.max_length.map(|length| length as usize),
            add_special: options.add_special_tokens,
        };
        let encoding = self.inner.encode_batch(&texts, options).map_err(Failure::from)?;
        Ok(NativeEncoding {
            input_ids: rows(&env, &encoding.ids)?,
            attention_mask: rows(&env, &encoding.attention_mask)?,
            truncated: encoding.truncated.into_iter().map(Option::unwrap_or_default).collect(),
        })
    }

    #[napi(catch_unwind)]
    pub fn decode(&self, ids: Vec<u32>, skip_special_tokens: bool) -> String {
        let special = if skip_special_tokens { SpecialTokens::Skip } else { SpecialTokens::Keep };
        self.inner.decode(&ids, special)
    }

    #[napi(catch_unwind)]
    pub fn convert_ids_to_tokens(&self, ids: Vec<u32>) -> Result<Vec<String>> {
        Ok(self.inner.convert_ids_to_tokens(&ids).map_err(Failure::from)?)
    }

    #[napi(catch_unwind)]
    pub fn convert_tokens_to_ids(&self, tokens: Vec<String>) -> Vec<u32> {
        self.inner.convert_tokens_to_ids(&tokens)
    }

    #[napi(catch_unwind)]
    pub fn tokenize(&self, text: String) -> Result<Vec<String>> {
        Ok(self.inner.tokenize(&text).map_err(Failure::from)?)
    }

    #[napi(catch_unwind)]
    pub fn add_tokens(&mut self, tokens: Vec<String>) -> Result<u32> {
        Ok(self.inner.add_tokens(&tokens).map_err(Failure::from)? as u32)
    }

    /// Whether a token is in the vocabulary or was added.
    #[napi(catch_unwind)]
    pub fn knows(&self, token: String) -> bool {
        self.inner.knows(&token)
    }

    /// The text with each added token of several vectors followed by its other tokens.
    #[napi(catch_unwind)]
    pub fn expand_prompt(&self, text: String) -> Result<String> {
        Ok(self.inner.expand_prompt(&text).map_err(Failure::from)?)
    }

    #[napi(catch_unwind)]
    #[allow(clippy::should_implement_trait)]
    pub fn clone(&self) -> NativeTokenizer {
        Self { inner: self.inner.clone() }
    }

    #[napi(getter, catch_unwind)]
    pub fn model_max_length(&self) -> u32 {
        self.inner.model_max_length() as u32
    }

    #[napi(getter, catch_unwind)]
    pub fn bos_token_id(&self) -> u32 {
        self.inner.bos_token_id()
    }

    #[napi(getter, catch_unwind)]
    pub fn eos_token_id(&self) -> u32 {
        self.inner.eos_token_id()
    }

    #[napi(getter, catch_unwind)]
    pub fn pad_token_id(&self) -> u32 {
        self.inner.pad_token_id()
    }

    #[napi(getter, catch_unwind)]
    pub fn vocab_size(&self) -> u32 {
        self.inner.vocab_size() as u32
    }

    /// Ids of the vocabulary and of all added tokens.
    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> u32 {
        self.inner.len() as u32
    }
}

/// A tokenizer's files are settings; no weights are involved when they are damaged.
fn as_config(error: ModelError) -> Failure {
    let failure = Failure::from(error);
    if failure.code == WEIGHTS {
        Failure { code: CONFIG, ..failure }
    } else {
        failure
    }
}

fn rows(env: &Env, rows: &[Vec<u32>]) -> Outcome<NativeTensor> {
    let length = rows.first().map_or(0, Vec::len);
    if let Some(other) = rows.iter().find(|row| row.len() != length) {
        let received = format!("false with texts of {length} and {} tokens", other.len());
        return Err(Failure::expected("'max_length' or 'longest' for texts of different lengths", "padding", received));
    }
    let values: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
    NativeTensor::wrap(env, Tensor::from_vec(values, (rows.len(), length), &Device::Cpu)?)
}
