use crate::check::{Check, FINAL};
use crate::folder::{context, Call, Folder};
use crate::Runner;
use candle_core::{Device, Tensor};
use nd_models::random::{Generator, GeneratorKind, Precision};
use nd_models::vae::{split_moments, AutoencoderKL, Tiling, VaeConfig, VaeOptions};
use nd_models::{CancelToken, Result};

pub fn kl(folder: &Folder) -> Result<Runner> {
    let config = VaeConfig::from_json(&folder.config())?;
    let model = AutoencoderKL::load(&config, folder.weights()?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let cancel = CancelToken::new();
        let options = VaeOptions { tiling: tiling(call, model.default_tiling()), slicing: call.info["slicing"] == true, cancel: &cancel };
        let moments = model.encode(&call.need("image"), &options)?;
        let (mean, logvar) = split_moments(&moments)?;
        let mut check = Check::default();
        check.compare(call, "moments", &moments, FINAL)?;
        check.compare(call, "mean", &mean, FINAL)?;
        check.compare(call, "mode", &mean, FINAL)?;
        check.compare(call, "logvar", &logvar, FINAL)?;
        if let Some(seed) = call.info["seed_sample"].as_u64() {
            check.compare(call, "sample", &draw(&mean, &logvar, seed)?, FINAL)?;
        }
        check.compare(call, "decoded", &model.decode(&call.need("latents"), &options)?, FINAL)?;
        Ok(check)
    }))
}

fn tiling(call: &Call, default: Tiling) -> Option<Tiling> {
    let given = call.info.get("tiling")?;
    let size = |key: &str, or: usize| given[key].as_u64().map_or(or, |v| v as usize);
    Some(Tiling {
        tile_sample_min_size: size("tile_sample_min_size", default.tile_sample_min_size),
        tile_latent_min_size: size("tile_latent_min_size", default.tile_latent_min_size),
        tile_overlap_factor: given["tile_overlap_factor"].as_f64().unwrap_or(default.tile_overlap_factor),
    })
}

fn draw(mean: &Tensor, logvar: &Tensor, seed: u64) -> Result<Tensor> {
    let noise = Generator::new(seed, GeneratorKind::Cpu).randn(mean.elem_count(), Precision::F32)?.into_tensor(mean.dims(), &Device::Cpu)?;
    Ok((mean + (logvar * 0.5)?.exp()?.mul(&noise)?)?)
}
