//! What the classes of all networks share: loading, facts, disposal.

use crate::allocator;
use crate::error::Outcome;
use crate::load::{Again, Facts, Handle, LoadJob, NativeLoadOptions, OnProgress, Share};
use crate::task::{spawn, NativeCancelToken};
use napi::bindgen_prelude::*;
use nd_kernels::{dry, memory};
use nd_models::weights::WeightScope;
use nd_models::{ConfigFile, LoadContext, LoadReport};
use serde_json::Value;

/// A network that knows its config and what its loading found.
pub trait Network: Send + Sync + 'static {
    fn file(&self) -> &ConfigFile;
    fn report(&self) -> &LoadReport;
}

/// Loads a network on the engine thread; `wrap` makes its class on the JavaScript thread.
pub fn spawn_load<'env, M: Network, N: ToNapiValue + 'static>(
    env: &'env Env,
    (options, token, on_progress): (NativeLoadOptions, &NativeCancelToken, OnProgress),
    load: fn(&Value, WeightScope, &LoadContext) -> nd_models::Result<M>,
    wrap: fn(Handle<M>) -> N,
) -> Outcome<Object<'env>> {
    let job = LoadJob::new(options, &token.token, on_progress)?;
    let work = move || {
        let (config, is_hollow, is_lazy, can_unload) = (job.config.clone(), job.is_hollow(), job.is_lazy(), job.is_from_files());
        let (weights, context) = job.open()?;
        let before = memory::live();
        let build = || load(&config, weights.clone(), &context);
        let model = if is_hollow || is_lazy { dry::run(build).0 } else { build() }?;
        let facts = Facts::new(model.file(), model.report(), memory::live().saturating_sub(before) as u64);
        let LoadContext { device, dtype, .. } = context;
        let again: Again<M> = Box::new(move |cancel| {
            let context = LoadContext { device: device.clone(), dtype, cancel: cancel.clone(), progress: None };
            Ok(load(&config, weights.clone(), &context)?)
        });
        let share = match (is_lazy, can_unload && !is_hollow) {
            (true, _) => {
                drop(model);
                allocator::release_pages();
                Share::unloadable(None, again)
            }
            (_, true) => Share::unloadable(Some(model), again),
            _ => Share::held(model),
        };
        Ok((share, facts))
    };
    spawn(env, &token.token, work, move |env, (share, facts)| Ok(wrap(Handle::new(env, share, facts)?)))
}

/// Declares the class of a network, `"doc" NativeX(Model, place of its file in its config) { load, "Promise<NativeX>": how it is loaded }`: the handle, its loaders, its
/// facts and its disposal.
macro_rules! network_class {
    ($doc:tt $name:ident($model:ty, $($file:ident).+) { $($loader:ident, $promise:tt: $load:expr;)+ }) => {
        #[doc = $doc]
        #[napi_derive::napi(custom_finalize)]
        pub struct $name {
            handle: $crate::load::Handle<$model>,
        }

        impl $crate::network::Network for $model {
            fn file(&self) -> &nd_models::ConfigFile {
                &self.config().$($file).+
            }

            fn report(&self) -> &nd_models::LoadReport {
                <$model>::report(self)
            }
        }

        impl napi::bindgen_prelude::ObjectFinalize for $name {
            fn finalize(mut self, env: napi::bindgen_prelude::Env) -> napi::Result<()> {
                self.handle.release(&env)
            }
        }

        #[napi_derive::napi]
        impl $name {
            $(
                #[napi(catch_unwind, ts_return_type = $promise)]
                pub fn $loader<'env>(
                    env: &'env napi::bindgen_prelude::Env,
                    options: $crate::load::NativeLoadOptions,
                    token: &$crate::task::NativeCancelToken,
                    #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: $crate::load::OnProgress,
                ) -> $crate::error::Result<napi::bindgen_prelude::Object<'env>> {
                    Ok($crate::network::spawn_load(env, (options, token, on_progress), $load, |handle| $name { handle })?)
                }
            )+

            #[napi(getter, catch_unwind)]
            pub fn config(&self) -> String {
                self.handle.facts.config.clone()
            }

            #[napi(getter, catch_unwind)]
            pub fn unknown_keys(&self) -> Vec<String> {
                self.handle.facts.unknown_keys.clone()
            }

            #[napi(getter, catch_unwind)]
            pub fn unexpected_weights(&self) -> Vec<String> {
                self.handle.facts.unexpected_weights.clone()
            }

            /// Bytes that the weights take while they are held.
            #[napi(getter, catch_unwind)]
            pub fn weight_bytes(&self) -> f64 {
                self.handle.facts.bytes as f64
            }

            /// Whether `unload` frees the weights: whether they come from files, and nothing else uses them.
            #[napi(getter, catch_unwind)]
            pub fn can_unload(&self) -> bool {
                self.handle.can_unload()
            }

            /// Whether the weights are in memory.
            #[napi(getter, catch_unwind)]
            pub fn is_held(&self) -> bool {
                self.handle.is_held()
            }

            /// Frees the weights until the next call needs them.
            #[napi(catch_unwind)]
            pub fn unload(&self) {
                self.handle.unload()
            }

            #[napi(catch_unwind)]
            pub fn dispose(&mut self, env: napi::bindgen_prelude::Env) -> $crate::error::Result<()> {
                Ok(self.handle.release(&env).map_err($crate::error::Failure::from)?)
            }
        }
    };
}

pub(crate) use network_class;
