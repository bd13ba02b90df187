//! `NativeAutoencoderKl`: the autoencoder between pixels and latents.

use crate::allocator;
use crate::error::Result;
use crate::estimate::{need_of, saving};
use crate::load::{NativeLoadOptions, OnProgress};
use crate::network::{network_class, spawn_load};
use crate::task::{spawn, NativeCancelToken};
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

network_class!("A loaded autoencoder." NativeAutoencoderKl(AutoencoderKL, file));

#[napi]
impl NativeAutoencoderKl {
    #[napi(catch_unwind, ts_return_type = "Promise<NativeAutoencoderKl>")]
    pub fn load<'env>(
        env: &'env Env,
        options: NativeLoadOptions,
        token: &NativeCancelToken,
        #[napi(ts_arg_type = "((loaded: number, total: number) => void) | undefined | null")] on_progress: OnProgress,
    ) -> Result<Object<'env>> {
        Ok(spawn_load(
            env,
            (options, token, on_progress),
            |json, weights, context| AutoencoderKL::load(&VaeConfig::from_json(json)?, weights, context),
            |handle| NativeAutoencoderKl { handle },
        )?)
    }

    /// Pixels to moments: mean and log variance one after the other.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn encode<'env>(&self, env: &'env Env, image: &NativeTensor, options: NativeVaeOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (share, cancel, image) = (self.handle.share()?, token.token.clone(), image.tensor()?.clone());
        let work = move || {
            let model = share.model(&cancel)?;
            Ok(model.encode(&image, &options.borrowed(model.config(), &cancel))?)
        };
        Ok(spawn(env, &token.token, work, NativeTensor::wrap)?)
    }

    #[napi(catch_unwind, ts_return_type = "Promise<NativeTensor>")]
    pub fn decode<'env>(&self, env: &'env Env, latents: &NativeTensor, options: NativeVaeOptions, token: &NativeCancelToken) -> Result<Object<'env>> {
        let (share, cancel, latents) = (self.handle.share()?, token.token.clone(), latents.tensor()?.clone());
        let saves_memory = options.saves_memory == Some(true);
        let is_large = latents.dims().iter().skip(2).product::<usize>() >= LARGE;
        let work = move || {
            if is_large {
                allocator::release_after_steps();
            }
            let model = share.model(&cancel)?;
            Ok(saving(saves_memory, || model.decode(&latents, &options.borrowed(model.config(), &cancel)))?)
        };
        Ok(spawn(env, &token.token, work, NativeTensor::wrap)?)
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
        let (share, cancel, latents) = (self.handle.share()?, token.token.clone(), latents.tensor()?.clone());
        let work = move || {
            let saves_memory = options.saves_memory == Some(true);
            need_of(saves_memory, share.shapes(&cancel)?, |model| model.decode(&latents, &options.borrowed(model.config(), &cancel)))
        };
        Ok(spawn(env, &token.token, work, |_, need| Ok(need))?)
    }
}
