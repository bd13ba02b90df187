//! `NativeLora`: an opened adapter file, and models with adapters.

use crate::clip::NativeClip;
use crate::error::{Failure, Outcome, Result};
use crate::load::{Again, Facts, Handle, Share};
use crate::motion::NativeMotion;
use crate::network::Network;
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use crate::unet::NativeUnet;
use candle_core::{DType, Device, Tensor};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_kernels::dry;
use nd_models::lora::{report, Adapter, BlockWeights, Component, LoraFile};
use nd_models::weights::{Weights, WeightsOptions};
use nd_models::{CancelToken, LoadContext, LoadReport};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// An opened adapter file; its tensors stay in the file until a model is made with them.
#[napi]
pub struct NativeLora {
    file: Arc<LoraFile>,
}

/// An adapter, its weight everywhere, and other weights for layers whose names start with these words.
#[napi(object, object_to_js = false)]
pub struct NativeAdapter<'env> {
    pub lora: ClassInstance<'env, NativeLora>,
    pub weight: f64,
    pub parts: Option<HashMap<String, f64>>,
}

#[napi]
impl NativeLora {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeLora>")]
    pub fn open<'env>(env: &'env Env, path: String, token: &NativeCancelToken) -> Result<Object<'env>> {
        let work = move || Ok(LoraFile::open(Path::new(&path))?);
        Ok(spawn(env, &token.token, work, |_, file| Ok(NativeLora { file: Arc::new(file) }))?)
    }

    #[napi(factory, catch_unwind)]
    pub fn from_tensors(names: Vec<String>, tensors: Vec<ClassInstance<NativeTensor>>) -> Result<Self> {
        let tensors = tensors.iter().map(|tensor| tensor.tensor().cloned()).collect::<Outcome<Vec<_>>>()?;
        let weights = Weights::from_tensors(names.into_iter().zip(tensors).collect());
        Ok(Self { file: Arc::new(LoraFile::from_weights(weights).map_err(Failure::from)?) })
    }

    /// Names of the textual inversions that came with the adapter.
    #[napi(catch_unwind, getter)]
    pub fn bundled_names(&self) -> Vec<String> {
        self.file.bundled_names().into_iter().map(str::to_string).collect()
    }

    /// The tensors of a textual inversion that came with the adapter, by their keys in a file of its own.
    #[napi(catch_unwind)]
    pub fn bundled(&self, env: &Env, name: String) -> Result<NativeTensorFile> {
        let found = self.file.bundled().map_err(Failure::from)?.remove(&name).unwrap_or_default();
        let (names, tensors): (Vec<String>, Vec<Tensor>) = found.into_iter().unzip();
        Ok(NativeTensorFile { names, tensors: NativeTensor::wrap_all(env, tensors)?, metadata: "{}".into() })
    }

    /// What of the file finds a layer in these models, as JSON; reads the numbers that lie between the file's tensors.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn report<'env>(
        &self,
        env: &'env Env,
        unet: Option<&NativeUnet>,
        text_encoder: Option<&NativeClip>,
        text_encoder_2: Option<&NativeClip>,
        motion_adapter: Option<&NativeMotion>,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let (file, cancel) = (self.file.clone(), token.token.clone());
        let (unet, motion) = (unet.map(NativeUnet::share).transpose()?, motion_adapter.map(NativeMotion::share).transpose()?);
        let (first, second) = (text_encoder.map(NativeClip::share).transpose()?, text_encoder_2.map(NativeClip::share).transpose()?);
        let work = move || {
            let unet = unet.map(|share| share.shapes(&cancel)).transpose()?;
            let motion = motion.map(|share| share.shapes(&cancel)).transpose()?;
            let first = first.map(|share| share.shapes(&cancel)).transpose()?;
            let second = second.map(|share| share.shapes(&cancel)).transpose()?;
            let models = unet.iter().map(|model| (Component::Unet, model.modules()));
            let models = models.chain(first.iter().map(|model| (Component::TextEncoder, model.modules())));
            let models = models.chain(second.iter().map(|model| (Component::TextEncoder2, model.modules())));
            let models: Vec<_> = models.chain(motion.iter().map(|model| (Component::MotionAdapter, model.modules()))).collect();
            Ok(report(&file, &models)?.json().to_string())
        };
        Ok(spawn(env, &token.token, work, |_, found| Ok(found))?)
    }
}

/// Adapters that can move to the engine thread.
pub fn adapters_of(adapters: Vec<NativeAdapter>) -> Outcome<Vec<Adapter>> {
    let each = adapters.into_iter().map(|NativeAdapter { lora, weight, parts }| {
        let weights = BlockWeights::new(weight, parts.unwrap_or_default().into_iter().collect())?;
        Ok(Adapter { file: lora.file.clone(), weights })
    });
    each.collect()
}

/// What making a model from another one needs; the numbers are those of the other one.
pub fn context_of(token: &CancelToken) -> LoadContext {
    LoadContext { cancel: token.clone(), ..LoadContext::cpu(DType::F32) }
}

/// The handle on a model that shares layers with another one; V8 hears of its own bytes only.
pub fn adapted<M: Network>(env: &Env, model: M) -> Outcome<Handle<M>> {
    let facts = Facts::new(model.file(), &LoadReport::default(), model.report().bytes);
    Handle::new(env, Share::held(model), facts)
}

/// As `adapted`, of what `make` makes of a model: at once if that is held, else by the first call that needs it.
pub fn derived<M: Network>(env: &Env, from: &Handle<M>, make: impl Fn(&M) -> nd_models::Result<M> + Send + Sync + 'static) -> Outcome<Handle<M>> {
    let share = from.share()?;
    if let Some(model) = share.if_held() {
        return adapted(env, make(&model)?);
    }
    let again: Again<M> = Box::new(move |cancel| Ok(make(&*share.model(cancel)?)?));
    let model = dry::run(|| again(&CancelToken::new())).0?;
    let facts = Facts::new(model.file(), &LoadReport::default(), model.report().bytes);
    Handle::new(env, Share::unloadable(None, again), facts)
}

/// The tensors of a small weights file of any format, and the free texts beside them as JSON.
#[napi(object, object_from_js = false)]
pub struct NativeTensorFile {
    pub names: Vec<String>,
    pub tensors: Vec<NativeTensor>,
    pub metadata: String,
}

/// Reads every tensor of a weights file, as textual inversions have them.
#[napi(catch_unwind, ts_return_type = "Promise<NativeTensorFile>")]
pub fn read_adapter_tensors<'env>(env: &'env Env, path: String, token: &NativeCancelToken) -> Result<Object<'env>> {
    let work = move || {
        let weights = Weights::open(Path::new(&path), &WeightsOptions::default())?;
        let names = weights.names();
        let tensors = names.iter().map(|name| Ok(weights.read(name, &Device::Cpu)?)).collect::<Outcome<Vec<_>>>()?;
        Ok((names, tensors, serde_json::json!(weights.metadata()).to_string()))
    };
    let finish = |env: &Env, (names, tensors, metadata): (Vec<String>, Vec<Tensor>, String)| {
        Ok(NativeTensorFile { names, tensors: NativeTensor::wrap_all(env, tensors)?, metadata })
    };
    Ok(spawn(env, &token.token, work, finish)?)
}
