//! `NativeAutoencoderKl`: the autoencoder between pixels and latents.

use crate::allocator;
use crate::error::Result;
use crate::estimate::saving;
use crate::network::network_class;
use crate::task::{on_engine, NativeCancelToken};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::vae::{AutoencoderKL, Tiling, VaeConfig, VaeOptions};
use nd_models::CancelToken;

/// Latents (height times width) whose decoding takes seconds on the machines of today: pages can be given back before it.
const LARGE: usize = 64 * 64;

/// Tiles of big pictures.
#[napi(object, object_to_js = false)]
pub struct NativeTiling {
    /// Side of a tile in pixels.
    pub tile_sample_min_size: u32,
    /// Share of a tile that overlaps the next.
    pub tile_overlap_factor: f64,
}

/// How the autoencoder runs.
#[napi(object, object_to_js = false)]
pub struct NativeVaeOptions {
    pub slicing: bool,
    pub tiling: Option<NativeTiling>,
    /// Keeps no second form of the convolutions' weights.
    pub saves_memory: Option<bool>,
}

impl NativeVaeOptions {
    fn borrowed<'a>(&self, config: &VaeConfig, cancel: &'a CancelToken) -> VaeOptions<'a> {
        let tiling = self.tiling.as_ref().map(|tiling| Tiling {
            tile_sample_min_size: tiling.tile_sample_min_size as usize,
            tile_latent_min_size: (tiling.tile_sample_min_size as usize / config.factor()).max(1),
            tile_overlap_factor: tiling.tile_overlap_factor,
        });
        VaeOptions { tiling, slicing: self.slicing, cancel }
    }
}

network_class!("A loaded autoencoder." NativeAutoencoderKl(AutoencoderKL, file) {
    load, "Promise<NativeAutoencoderKl>": |json, weights, context| AutoencoderKL::load(&VaeConfig::from_json(json)?, weights, context);
});

#[napi]
impl NativeAutoencoderKl {
    /// Pixels to moments: mean and log variance one after the other.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, options: NativeVaeOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let image = image.tensor()?.clone();
        let work = move |model: &AutoencoderKL, cancel: &CancelToken| model.encode(&image, &options.borrowed(model.config(), cancel));
        Ok(self.handle.run(env, token, work, NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, options: NativeVaeOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let latents = latents.tensor()?.clone();
        if latents.dims().iter().skip(2).product::<usize>() >= LARGE {
            on_engine(allocator::release_after_steps);
        }
        let work = move |model: &AutoencoderKL, cancel: &CancelToken| {
            saving(options.saves_memory == Some(true), || model.decode(&latents, &options.borrowed(model.config(), cancel)))
        };
        Ok(self.handle.run(env, token, work, NativeTensor::wrap)?)
    }

    /// What `decode` would need, without computing anything.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeNeed>")]
    pub fn decode_need<'env>(
        &self,
        env: &'env Env,
        latents: &NativeTensor,
        options: NativeVaeOptions,
        token: &NativeCancelToken,
    ) -> Result<Object<'env>> {
        let latents = latents.tensor()?.clone();
        let saves_memory = options.saves_memory == Some(true);
        let work = move |model: &AutoencoderKL, cancel: &CancelToken| model.decode(&latents, &options.borrowed(model.config(), cancel));
        Ok(self.handle.need(env, token, saves_memory, work)?)
    }
}
