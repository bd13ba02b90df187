//! What loading a model needs, and the handle on a loaded one.

use crate::allocator;
use crate::device;
use crate::error::{Failure, Outcome, DISPOSED, INVALID_ARGUMENT};
use crate::estimate::need_of;
use crate::task::{on_engine, spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::{DType, Device, Tensor};
use napi::bindgen_prelude::*;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use nd_kernels::dry;
use nd_models::single_file::{self, Part};
use nd_models::weights::{SeededWeights, WeightScope, Weights, WeightsOptions};
use nd_models::{CancelToken, ConfigFile, LoadContext, LoadReport, Progress};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a model's weights are and how to keep them: `path`, or `names` with `tensors`, or `seed`.
#[napi(object, object_to_js = false)]
pub struct NativeLoadOptions<'env> {
    /// A folder or a weights file.
    pub path: Option<String>,
    /// Other files of the same component.
    pub beside: Option<Vec<String>>,
    /// The component of a single file, such as `unet`; the names of a diffusers folder if left out.
    pub part: Option<String>,
    /// Names of tensors in memory.
    pub names: Option<Vec<String>>,
    pub tensors: Option<Vec<ClassInstance<'env, NativeTensor>>>,
    /// Random weights of this seed.
    pub seed: Option<f64>,
    /// The config as JSON.
    pub config: String,
    /// The `fp16` of `name.fp16.safetensors`.
    pub variant: Option<String>,
    pub dtype: String,
    pub device: String,
    /// Files are read by the first call that needs the weights; until then only their headers are.
    pub lazy: Option<bool>,
}

/// The device of models that have shapes and no numbers.
const HOLLOW: &str = "meta";

/// Hears of bytes read and bytes in all.
pub type OnProgress<'env> = Option<Function<'env, FnArgs<(f64, f64)>, ()>>;

/// A load that can move to the engine thread.
pub struct LoadJob {
    pub config: Value,
    source: Source,
    part: Option<String>,
    variant: Option<String>,
    device: String,
    dtype: String,
    lazy: bool,
    cancel: CancelToken,
    progress: Option<Progress>,
}

enum Source {
    Files(Vec<PathBuf>),
    Memory(HashMap<String, Tensor>),
    Seed(u64),
}

impl LoadJob {
    /// Reads the options on the JavaScript thread.
    pub fn new(options: NativeLoadOptions, cancel: &CancelToken, on_progress: OnProgress) -> Outcome<Self> {
        let config = serde_json::from_str(&options.config).map_err(|error| Failure::expected("JSON", "config", error))?;
        let source = match (options.path, options.names, options.tensors, options.seed) {
            (Some(path), ..) => Source::Files(std::iter::once(path).chain(options.beside.unwrap_or_default()).map(PathBuf::from).collect()),
            (_, _, _, Some(seed)) => Source::Seed(seed as u64),
            (None, Some(names), Some(tensors), _) => {
                let tensors = tensors.iter().map(|tensor| tensor.tensor().cloned()).collect::<Outcome<Vec<_>>>()?;
                Source::Memory(names.into_iter().zip(tensors).collect())
            }
            _ => return Err(Failure::new(INVALID_ARGUMENT, "Expected a path or tensors for options but received neither")),
        };
        let progress = on_progress.map(progress_of).transpose()?;
        Ok(Self {
            config,
            source,
            part: options.part,
            variant: options.variant,
            device: options.device,
            dtype: options.dtype,
            lazy: options.lazy == Some(true),
            cancel: cancel.clone(),
            progress,
        })
    }

    /// Whether only shapes are wanted: torch's `meta`.
    pub fn is_hollow(&self) -> bool {
        self.device == HOLLOW
    }

    /// Whether the weights are read by the first call that needs them.
    pub fn is_lazy(&self) -> bool {
        self.lazy && self.is_from_files()
    }

    /// Whether the weights can be read again: those that were given, or drawn, are nowhere else.
    pub fn is_from_files(&self) -> bool {
        matches!(self.source, Source::Files(_))
    }

    /// Opens the weights, on the engine thread.
    pub fn open(self) -> Outcome<(WeightScope, LoadContext)> {
        let (part, hollow) = (self.part.as_deref().map(Part::parse).transpose()?, self.is_hollow());
        let weights = match self.source {
            Source::Files(paths) => open_files(&paths, self.variant.as_deref(), part)?,
            Source::Memory(tensors) => Weights::from_tensors(tensors),
            Source::Seed(seed) => Weights::new(SeededWeights::new(seed, DType::F32)),
        };
        let device = if hollow { Device::Cpu } else { device::device(&self.device)? };
        let dtype = device::storage(&self.dtype)?;
        Ok((weights.scope(), LoadContext { device, dtype, cancel: self.cancel, progress: self.progress }))
    }
}

/// The weights of a component, by their names in a diffusers folder, from the files that together hold it.
pub fn open_files(paths: &[PathBuf], variant: Option<&str>, part: Option<Part>) -> Outcome<Weights> {
    let options = WeightsOptions { variant: variant.map(str::to_string), ..Default::default() };
    let open = |path: &PathBuf| -> Outcome<Weights> {
        let weights = Weights::open(path, &options)?;
        Ok(part.map_or(Ok(weights.clone()), |part| single_file::part(&weights, part))?)
    };
    let mut opened = paths.iter().map(open).collect::<Outcome<Vec<_>>>()?;
    match (opened.len(), opened.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            let origin = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ");
            Ok(Weights::join(opened.into_iter().chain(last).collect(), &origin)?)
        }
    }
}

/// A listener as the core tells it of progress.
pub fn progress_of(listener: Function<FnArgs<(f64, f64)>, ()>) -> Outcome<Progress> {
    let function = listener.build_threadsafe_function::<FnArgs<(f64, f64)>>().callee_handled::<false>().weak::<true>().build()?;
    Ok(Box::new(move |done, total| {
        function.call((done as f64, total as f64).into(), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}

/// What the SDK wants to know about a loaded model.
pub struct Facts {
    pub config: String,
    pub unknown_keys: Vec<String>,
    pub unexpected_weights: Vec<String>,
    pub bytes: i64,
}

impl Facts {
    /// Facts from a model's config and report, and the bytes that its weights take.
    pub fn new(file: &ConfigFile, report: &LoadReport, bytes: u64) -> Self {
        let config = Value::Object(file.values.clone()).to_string();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        Self { config, unknown_keys: file.unknown.clone(), unexpected_weights: report.unexpected.clone(), bytes }
    }
}

/// Reads a model again, on the engine thread.
pub type Again<T> = Box<dyn Fn(&CancelToken) -> Outcome<T> + Send + Sync>;

/// A model that may be unloaded: then its weights are read again when they are needed.
pub struct Share<T> {
    held: Mutex<Option<Arc<T>>>,
    again: Option<Again<T>>,
}

impl<T: Send + Sync + 'static> Share<T> {
    /// One that stays.
    pub fn held(model: T) -> Self {
        Self { held: Mutex::new(Some(Arc::new(model))), again: None }
    }

    /// One that `again` reads, once more if it is held already.
    pub fn unloadable(model: Option<T>, again: Again<T>) -> Self {
        Self { held: Mutex::new(model.map(Arc::new)), again: Some(again) }
    }

    /// The model, read if it is not held, which only the engine thread may wait for; in a dry run with shapes alone, which do not stay.
    pub fn model(&self, cancel: &CancelToken) -> Outcome<Arc<T>> {
        if let Some(model) = self.if_held() {
            return Ok(model);
        }
        // Read without the lock: meanwhile the JavaScript thread may ask whether it is held.
        let model = Arc::new(self.again.as_ref().ok_or_else(disposed)?(cancel)?);
        if !dry::is_on() {
            *self.lock() = Some(model.clone());
        }
        Ok(model)
    }

    /// The model if its weights are in memory.
    pub fn if_held(&self) -> Option<Arc<T>> {
        self.lock().clone()
    }

    /// As `model`, with shapes alone if it is not held: for what computes nothing.
    pub fn shapes(&self, cancel: &CancelToken) -> Outcome<Arc<T>> {
        dry::run(|| self.model(cancel)).0
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disposed() -> Failure {
    Failure::new(DISPOSED, "Expected a model in use but received a disposed one")
}

/// A loaded model whose weights V8 knows of; running work keeps its own share.
pub struct Handle<T> {
    live: Option<Arc<Share<T>>>,
    pub facts: Facts,
}

impl<T: Send + Sync + 'static> Handle<T> {
    /// Reports the weights to V8.
    pub fn new(env: &Env, share: Share<T>, facts: Facts) -> Outcome<Self> {
        env.adjust_external_memory(facts.bytes)?;
        Ok(Self { live: Some(Arc::new(share)), facts })
    }

    /// A share of the model, for work on the engine thread; unless disposed.
    pub fn share(&self) -> Outcome<Arc<Share<T>>> {
        self.live.clone().ok_or_else(disposed)
    }

    /// Runs `work` on the model on the engine thread, which reads it first if it is not held; `finish` makes a value of its result on the JavaScript thread.
    pub fn run<'env, R, E, V>(
        &self,
        env: &'env Env,
        token: &NativeCancelToken,
        work: impl FnOnce(&T, &CancelToken) -> std::result::Result<R, E> + Send + 'static,
        finish: impl FnOnce(&Env, R) -> Outcome<V> + Send + 'static,
    ) -> Outcome<Object<'env>>
    where
        R: Send + 'static,
        E: Into<Failure>,
        V: ToNapiValue + 'static,
    {
        let (share, cancel) = (self.share()?, token.token.clone());
        let work = move || work(&*share.model(&cancel)?, &cancel).map_err(Into::into);
        spawn(env, &token.token, work, finish)
    }

    /// What `work` would need, as `run` would run it; nothing is read or computed.
    pub fn need<'env, R>(
        &self,
        env: &'env Env,
        token: &NativeCancelToken,
        saves_memory: bool,
        work: impl FnOnce(&T, &CancelToken) -> nd_models::Result<R> + Send + 'static,
    ) -> Outcome<Object<'env>> {
        let (share, cancel) = (self.share()?, token.token.clone());
        let work = move || need_of(saves_memory, share.shapes(&cancel)?, |model| work(model, &cancel));
        spawn(env, &token.token, work, |_, need| Ok(need))
    }

    /// What `f` tells of the model's shapes, which takes no weights.
    pub fn shapes<R>(&self, f: impl FnOnce(&T) -> R) -> Outcome<R> {
        let share = self.share()?;
        let answer = f(&*share.shapes(&CancelToken::new())?);
        if !self.is_held() {
            on_engine(allocator::release_pages);
        }
        Ok(answer)
    }

    /// Whether `unload` frees the weights.
    pub fn can_unload(&self) -> bool {
        self.live.as_ref().is_some_and(|share| share.again.is_some())
    }

    /// Whether the weights are in memory.
    pub fn is_held(&self) -> bool {
        self.live.as_ref().is_some_and(|share| share.if_held().is_some())
    }

    /// Frees the weights until the next call needs them, after the jobs before it; nothing for a model that cannot be read again.
    pub fn unload(&self) {
        if let Some(share) = self.live.clone().filter(|share| share.again.is_some()) {
            on_engine(move || {
                let model = share.lock().take();
                drop(model);
                allocator::release_pages();
            });
        }
    }

    /// Gives up this share; freeing gigabytes takes a while, so it happens on the engine thread.
    pub fn release(&mut self, env: &Env) -> napi::Result<()> {
        if let Some(model) = self.live.take() {
            on_engine(move || drop(model));
            env.adjust_external_memory(-self.facts.bytes)?;
        }
        Ok(())
    }
}
