//! What a UNet refuses, on a tiny model of the parity pack; skipped where there is no pack.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_models::unet::{FreeU, UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::weights::{Weights, WeightsOptions};
use nd_models::{read_json, CancelToken, LoadContext, ModelError};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn pack() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var_os("PARITY_DIR").map(PathBuf::from);
    let candidates = given.map_or_else(|| vec![root.join("../shared/parity"), root.join("test/fixtures/parity")], |dir| vec![dir]);
    candidates.into_iter().map(|dir| dir.join("models")).find(|dir| dir.is_dir())
}

/// A UNet of the pack that is conditioned on text alone.
fn plain_unet() -> Option<UNet2DConditionModel> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(pack()?).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let is_plain = |config: &Value| {
        let plain = ["addition_embed_type", "num_class_embeds", "time_cond_proj_dim", "encoder_hid_dim"].iter().all(|key| config[key].is_null());
        config["_class_name"] == "UNet2DConditionModel"
            && plain
            && config["dual_cross_attention"] == false
            && config["mid_block_type"] == "UNetMidBlock2DCrossAttn"
    };
    let config = |path: &Path| read_json(&path.join("config.json")).ok().filter(is_plain);
    let (path, config) = folders.iter().find_map(|path| Some((path, config(path)?)))?;
    let scope = Weights::open(path, &WeightsOptions::default()).unwrap().scope();
    Some(UNet2DConditionModel::load(&UNetConfig::from_json(&config).unwrap(), scope, &LoadContext::cpu(DType::F32)).unwrap())
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn wrong_arguments_are_named_before_work_starts() {
    let Some(unet) = plain_unet() else { return };
    let (channels, width) = (unet.config().in_channels, unet.config().context_width());
    let cancel = CancelToken::new();
    let (sample, text) = (zeros(&[2, channels, 8, 8]), zeros(&[2, 7, width]));
    let other = zeros(&[2, 3]);
    let residuals = [zeros(&[2, 1, 8, 8])];
    let base = || UNetInput::new(&sample, &[5.0], &text, &cancel);
    let short = zeros(&[1, 7, width]);
    let flat = zeros(&[channels, 8, 8]);
    let cases = [
        (UNetInput { sample: &flat, ..base() }, "for sample but received"),
        (UNetInput { encoder_hidden_states: &short, ..base() }, "for encoder_hidden_states but received"),
        (UNetInput { timesteps: &[1.0, 2.0, 3.0], ..base() }, "Expected 1 or 2 numbers for timestep but received 3 numbers"),
        (UNetInput { timesteps: &[f64::NAN], ..base() }, "Expected finite numbers for timestep but received NaN"),
        (UNetInput { encoder_attention_mask: Some(&other), ..base() }, "Expected shape (2, 7) for encoder_attention_mask"),
        (UNetInput { timestep_cond: Some(&other), ..base() }, "for timestep_cond but received"),
        (UNetInput { freeu: Some(FreeU { s1: f64::INFINITY, s2: 1.0, b1: 1.0, b2: 1.0 }), ..base() }, "Expected a finite number for s1"),
        (
            UNetInput { down_block_additional_residuals: &residuals, mid_block_additional_residual: Some(&other), ..base() },
            "for down_block_additional_residuals but received 1 tensors",
        ),
    ];
    for (input, part) in cases {
        let error = unet.forward(&input).unwrap_err();
        assert_eq!(error.code(), "ERR_INVALID_ARGUMENT", "{error}");
        assert!(error.to_string().contains(part), "{error} lacks {part}");
    }
}

#[test]
fn cancelled_work_stops_and_the_model_stays_usable() {
    let Some(unet) = plain_unet() else { return };
    let (sample, text) = (zeros(&[1, unet.config().in_channels, 8, 8]), zeros(&[1, 7, unet.config().context_width()]));
    let cancelled = CancelToken::new();
    cancelled.cancel();
    assert!(matches!(unet.forward(&UNetInput::new(&sample, &[5.0], &text, &cancelled)), Err(ModelError::Cancelled)));
    let out = unet.forward(&UNetInput::new(&sample, &[5.0], &text, &CancelToken::new())).unwrap();
    assert_eq!(out.dims(), [1, unet.config().out_channels, 8, 8]);
}

#[test]
fn a_prompt_used_again_gives_the_same_bits() {
    let Some(unet) = plain_unet() else { return };
    let cancel = CancelToken::new();
    let sample = Tensor::randn(0f32, 1.0, (1, unet.config().in_channels, 5, 6), &Device::Cpu).unwrap();
    let text = Tensor::randn(0f32, 1.0, (1, 7, unet.config().context_width()), &Device::Cpu).unwrap();
    let run = |text: &Tensor| unet.forward(&UNetInput::new(&sample, &[5.0], text, &cancel)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let first = run(&text);
    assert_eq!(run(&text), first);
    assert_eq!(run(&text.copy().unwrap()), first);
}
