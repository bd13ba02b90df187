//! What benches ask: where time goes, what the machine can do, how much memory native code holds.

use crate::allocator;
use crate::error::{Failure, Result};
use crate::task::{spawn, NativeCancelToken};
use candle_core::DType;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_kernels::{machine, memory, profile};
use nd_models::clip::{ClipTextConfig, ClipTextModel};
use nd_models::unet::{UNet2DConditionModel, UNetConfig};
use nd_models::vae::{AutoencoderKL, VaeConfig};
use nd_models::weights::{save, Element, SaveOptions, SeededWeights, Weights};
use nd_models::LoadContext;
use std::path::Path;

/// What operations of one kind and shape took together.
#[napi(object, object_from_js = false)]
pub struct NativeRecord {
    /// `linear`, `conv`, `attention`, ...; `other` is everything outside of operations.
    pub kind: String,
    pub shape: String,
    pub calls: f64,
    pub seconds: f64,
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// Of the direct method.
    pub flops: f64,
    pub faults: f64,
}

/// Starts recording what each operation of this process costs.
#[napi(catch_unwind)]
pub fn start_profile() {
    profile::start();
}

/// Ends the recording; the times of the records sum to the time since its start.
#[napi(catch_unwind)]
pub fn stop_profile() -> Vec<NativeRecord> {
    let record = |record: profile::Record| NativeRecord {
        kind: record.kind.into(),
        shape: record.shape,
        calls: record.calls as f64,
        seconds: record.seconds,
        cpu_seconds: record.cpu_seconds,
        flops: record.flops,
        faults: record.faults as f64,
    };
    profile::stop().into_iter().map(record).collect()
}

/// Rates that the machine reaches with all threads of the pool; 0 where the CPU lacks the instruction.
#[napi(object, object_from_js = false)]
pub struct NativePeaks {
    /// GFLOP/s of f32 multiply-adds.
    pub f32: f64,
    /// GFLOP/s of bf16 dot products.
    pub bf16: f64,
    /// GOP/s of int8 dot products.
    pub int8: f64,
    /// GB/s read from memory.
    pub read: f64,
    /// GB/s read plus written by copying.
    pub copy: f64,
}

/// Measures them, for about half a second.
#[napi(catch_unwind, ts_return_type = "Promise<NativePeaks>")]
pub fn machine_peaks<'env>(env: &'env Env, token: &NativeCancelToken) -> Result<Object<'env>> {
    let finish = |_: &Env, machine::Peaks { f32, bf16, int8, read, copy }| Ok(NativePeaks { f32, bf16, int8, read, copy });
    let work = || {
        let peaks = machine::peaks(5);
        // Half a gigabyte was streamed through.
        allocator::release_pages();
        Ok(peaks)
    };
    Ok(spawn(env, &token.token, work, finish)?)
}

/// Bytes of native memory: in use now, and the most since the last reset.
#[napi(object, object_from_js = false)]
pub struct NativeMemory {
    pub live: f64,
    pub peak: f64,
}

/// Memory that native code holds; `reset` begins a new peak.
#[napi(catch_unwind)]
pub fn native_memory(reset: bool) -> NativeMemory {
    let answer = NativeMemory { live: memory::live() as f64, peak: memory::peak() as f64 };
    if reset {
        memory::reset_peak();
    }
    answer
}

/// Writes the random weights of a model as f16 safetensors, so that loading can be measured; `kind` is `unet`, `vae` or `text_encoder`.
#[napi(catch_unwind, ts_return_type = "Promise<void>")]
pub fn save_random_weights<'env>(
    env: &'env Env,
    kind: String,
    config: String,
    seed: f64,
    path: String,
    token: &NativeCancelToken,
) -> Result<Object<'env>> {
    let json: serde_json::Value = serde_json::from_str(&config).map_err(|error| Failure::expected("JSON", "config", error))?;
    let context = LoadContext { cancel: token.token.clone(), ..LoadContext::cpu(DType::F16) };
    let linear_projections = json["use_linear_projection"] == true;
    let work = move || {
        // Loading tells the source which tensors there are.
        let weights = Weights::new(SeededWeights::new(seed as u64, DType::F16));
        match kind.as_str() {
            "unet" => drop(UNet2DConditionModel::load(&UNetConfig::from_json(&json)?, weights.scope(), &context)?),
            "vae" => drop(AutoencoderKL::load(&VaeConfig::from_json(&json)?, weights.scope(), &context)?),
            "text_encoder" => drop(ClipTextModel::load(&ClipTextConfig::from_json(&json)?, weights.scope(), &context)?),
            other => return Err(Failure::expected("unet, vae or text_encoder", "kind", other)),
        }
        publish_shapes(&weights, linear_projections);
        Ok(save(&weights, Path::new(&path), &SaveOptions { dtype: Some(Element::F16), ..Default::default() })?)
    };
    Ok(spawn(env, &token.token, work, |_, ()| Ok(()))?)
}

/// Gives matrices that published files hold as 1x1 convolutions that shape, so that other programs read the file too: our loader takes both.
fn publish_shapes(weights: &Weights, linear_projections: bool) {
    for name in weights.names() {
        let is_projection = name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight");
        let is_convolution = name.ends_with("quant_conv.weight") || (is_projection && !linear_projections);
        if let Some((_, shape)) = weights.describe(&name).filter(|(_, shape)| is_convolution && shape.len() == 2) {
            weights.want(&name, &[shape[0], shape[1], 1, 1]);
        }
    }
}
