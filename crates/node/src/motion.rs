//! `NativeMotion`: the motion modules of AnimateDiff.

use crate::error::{Outcome, Result};
use crate::load::Share;
use crate::lora::{adapted, adapters_of, context_of, NativeAdapter};
use crate::network::network_class;
use crate::task::NativeCancelToken;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::adapters::{FrameWindows, Motion, MotionAdapter, MotionConfig};
use nd_models::CancelToken;
use std::sync::Arc;

network_class!("A loaded motion adapter." NativeMotion(MotionAdapter, file) {
    load, "Promise<NativeMotion>": |json, weights, context| MotionAdapter::load(&MotionConfig::from_json(json)?, weights, context);
});

/// Windows of a long video.
#[napi(object, object_to_js = false)]
pub struct NativeFrameWindows {
    pub stride: u32,
    /// One number for each frame of a window.
    pub weights: Vec<f64>,
}

#[napi]
impl NativeMotion {
    /// These modules with these adapters and no others.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeMotion>")]
    pub fn with_adapters<'env>(&self, env: &'env Env, adapters: Vec<NativeAdapter>, token: &NativeCancelToken) -> Result<Object<'env>> {
        let adapters = adapters_of(adapters)?;
        let work = move |model: &MotionAdapter, cancel: &CancelToken| model.with_adapters(&adapters, context_of(cancel));
        Ok(self.handle.run(env, token, work, |env, model| Ok(NativeMotion { handle: adapted(env, model)? }))?)
    }
}

impl NativeMotion {
    /// A share of it, unless it is disposed.
    pub fn share(&self) -> Outcome<Arc<Share<MotionAdapter>>> {
        self.handle.share()
    }
}

/// A motion adapter in one call, which holds a share of it.
pub struct OwnedMotion {
    adapter: Arc<Share<MotionAdapter>>,
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
        Ok(Self { adapter: motion.handle.share()?, frames: frames as usize, windows })
    }

    /// The modules, read if they are not held.
    pub fn model(&self, cancel: &CancelToken) -> Outcome<Arc<MotionAdapter>> {
        self.adapter.model(cancel)
    }

    /// What the UNet gets.
    pub fn borrowed<'a>(&'a self, adapter: &'a MotionAdapter) -> Motion<'a> {
        Motion { adapter, frames: self.frames, windows: self.windows.as_ref() }
    }
}
