//! What the classes of all networks share: loading, facts, disposal.

use crate::error::Outcome;
use crate::load::{Facts, Handle, LoadJob, NativeLoadOptions, OnProgress};
use crate::task::{spawn, NativeCancelToken};
use napi::bindgen_prelude::*;
use nd_kernels::dry;
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
    load: impl FnOnce(&Value, WeightScope, &LoadContext) -> nd_models::Result<M> + Send + 'static,
    wrap: fn(Handle<M>) -> N,
) -> Outcome<Object<'env>> {
    let job = LoadJob::new(options, &token.token, on_progress)?;
    let work = move || {
        let (config, is_hollow) = (job.config.clone(), job.is_hollow());
        let (weights, context) = job.open()?;
        let build = || load(&config, weights, &context);
        let model = if is_hollow { dry::run(build).0 } else { build() }?;
        let facts = Facts::new(model.file(), model.report(), context.dtype.float().size_in_bytes());
        Ok((model, facts))
    };
    spawn(env, &token.token, work, move |env, (model, facts)| Ok(wrap(Handle::new(env, model, facts)?)))
}

/// Declares the class of a network, `"doc" NativeX(Model, place of its file in its config)`: the handle, its facts and its disposal.
macro_rules! network_class {
    ($doc:tt $name:ident($model:ty, $($file:ident).+)) => {
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

            #[napi(catch_unwind)]
            pub fn dispose(&mut self, env: napi::bindgen_prelude::Env) -> $crate::error::Result<()> {
                Ok(self.handle.release(&env).map_err($crate::error::Failure::from)?)
            }
        }
    };
}

pub(crate) use network_class;
