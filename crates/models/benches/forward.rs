//! Time of one forward pass of whole models: `cargo bench -p nd-models -- [pipeline folder] [latent side] [batch]`, default the built-in model at
//! its own size. Prints the best and the median of 20 runs in milliseconds.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use nd_models::unet::{UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::vae::{AutoencoderKL, VaeConfig, VaeOptions};
use nd_models::weights::{Weights, WeightsOptions};
use nd_models::{read_json, CancelToken, LoadContext};
use std::path::{Path, PathBuf};
use std::time::Instant;

const RUNS: usize = 20;

fn measure(name: &str, mut run: impl FnMut()) {
    run();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name}: best {:.2} ms, median {:.2} ms", times[0], times[RUNS / 2]);
}

fn open(folder: &Path) -> (serde_json::Value, nd_models::weights::WeightScope) {
    (read_json(&folder.join("config.json")).unwrap(), Weights::open(folder, &WeightsOptions::default()).unwrap().scope())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes");
    let folder = args.first().map_or(built_in, PathBuf::from);
    let (cancel, ctx) = (CancelToken::new(), LoadContext::cpu(DType::F32));
    let (json, scope) = open(&folder.join("unet"));
    let config = UNetConfig::from_json(&json).unwrap();
    let side = args.get(1).map_or_else(|| config.sample_size.as_u64().unwrap() as usize, |side| side.parse().unwrap());
    let batch = args.get(2).map_or(2, |batch| batch.parse().unwrap());
    let unet = UNet2DConditionModel::load(&config, scope, &ctx).unwrap();
    let sample = Tensor::randn(0f32, 1.0, (batch, config.in_channels, side, side), &Device::Cpu).unwrap();
    let text = Tensor::randn(0f32, 1.0, (batch, 77, config.context_width()), &Device::Cpu).unwrap();
    measure(&format!("unet {batch} x {side} x {side}"), || {
        unet.forward(&UNetInput::new(&sample, &[500.0], &text, &cancel)).unwrap();
    });

    let (json, scope) = open(&folder.join("vae"));
    let vae = AutoencoderKL::load(&VaeConfig::from_json(&json).unwrap(), scope, &ctx).unwrap();
    let latents = sample.narrow(0, 0, 1).unwrap().narrow(1, 0, vae.config().latent_channels).unwrap();
    let options = VaeOptions { tiling: None, slicing: false, cancel: &cancel };
    measure(&format!("vae decode 1 x {side} x {side}"), || {
        vae.decode(&latents, &options).unwrap();
    });
}
