//! `NativeMotion`: the motion modules of AnimateDiff.

use crate::error::{Outcome, Result};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::NativeCancelToken;
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
