//! `NativeMotion`: the motion modules of AnimateDiff.

use crate::error::{Outcome, Result};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::lora::{adapted, adapters_of, context_of, NativeAdapter};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::adapters::{FrameWindows, Motion, MotionAdapter, MotionConfig};
use std::sync::Arc;

network_class!("A loaded motion adapter." NativeMotion(MotionAdapter, file));

/// Windows of a long video.
#[napi(object, object_to_js = false)]
pub struct NativeFrameWindows {
    pub stride: u32,
    /// One number for each frame of a window.
    pub weights: Vec<f64>,
}

#[napi]
impl NativeMotion {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeMotion>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| MotionAdapter::load(&MotionConfig::from_json(json)?, weights, context),
            |handle| NativeMotion { handle },
        )?)
    }

    /// These modules with these adapters and no others.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeMotion>")]
    pub fn with_adapters<'env>(&self, env: &'env Env, adapters: Vec<NativeAdapter>, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (model, adapters, context) = (self.handle.get()?, adapters_of(adapters)?, context_of(&token.token));
        let work = move || Ok(model.with_adapters(&adapters, context)?);
        Ok(spawn(env, &token.token, work, |env, model| Ok(NativeMotion { handle: adapted(env, model)? }))?)
    }
}

impl NativeMotion {
    /// A share of the modules.
    pub fn model(&self) -> Outcome<Arc<MotionAdapter>> {
        self.handle.get()
    }
}

/// A motion adapter in one call, which holds a share of it.
pub struct OwnedMotion {
    adapter: Arc<MotionAdapter>,
    frames: usize,
    windows: Option<FrameWindows>,
}

impl OwnedMotion {
    /// Takes a share on the JavaScript thread.
    pub fn new(motion: &NativeMotion, frames: u32, windows: Option<NativeFrameWindows>) -> Outcome<Self> {
        let windows = windows.map(|NativeFrameWindows { stride, weights }| FrameWindows {
            stride: stride as usize,
            weights: weights.into_iter().map(|weight| weight as f32).collect(),
        });
        Ok(Self { adapter: motion.handle.get()?, frames: frames as usize, windows })
    }

    /// What the UNet gets.
    pub fn borrowed(&self) -> Motion<'_> {
        Motion { adapter: &self.adapter, frames: self.frames, windows: self.windows.as_ref() }
    }
}
