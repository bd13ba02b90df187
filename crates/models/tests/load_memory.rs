//! Loading a file needs no second copy of it: what stays is the packed weights, what is needed meanwhile is a layer's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_kernels::memory::{live, peak, reset_peak, Counting};
use nd_models::clip::{ClipTextConfig, ClipTextModel};
use nd_models::weights::{SeededWeights, Weights, WeightsOptions};
use nd_models::LoadContext;
use serde_json::json;
use std::alloc::System;
use std::collections::HashMap;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Bytes of the largest weight in the file below.
const LARGEST: usize = 2 * 4096 * 512;

fn config() -> ClipTextConfig {
    let config = json!({
        "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8,
        "vocab_size": 4096, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "eos_token_id": 2
    });
    ClipTextConfig::from_json(&config).unwrap()
}

/// Pages of files that this process has in memory, in bytes.
fn resident_file_pages() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}

#[test]
fn a_load_holds_the_packed_weights_and_one_layer() {
    let path = std::env::temp_dir().join(format!("nd-load-memory-{}.safetensors", std::process::id()));
    let seeded = Weights::new(SeededWeights::new(1, DType::F16));
    drop(ClipTextModel::load(&config(), seeded.scope(), &LoadContext::cpu(DType::F16)).unwrap());
    let tensors: HashMap<String, Tensor> = seeded.names().into_iter().map(|name| (name.clone(), seeded.read(&name, &Device::Cpu).unwrap())).collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    drop(tensors);
    let file = std::fs::metadata(&path).unwrap().len() as usize;
    assert!(file > 50 << 20, "{file}");

    let (before, pages) = (live(), resident_file_pages());
    reset_peak();
    let weights = Weights::open(&path, &WeightsOptions::default()).unwrap();
    let model = ClipTextModel::load(&config(), weights.scope(), &LoadContext::cpu(DType::F16)).unwrap();
    let (kept, most) = (live() - before, peak() - before);
    // The packed weights are as large as the file but for columns that fill up vectors, of which these widths have none; what is below 16 KiB is not counted.
    assert!(kept > file * 95 / 100 && kept < file * 105 / 100, "{kept} of {file}");
    assert!(most < kept + 2 * LARGEST, "{most} at the peak, {kept} in the end");
    if let (Some(before), Some(after)) = (pages, resident_file_pages()) {
        assert!(after < before + file / 4, "{} of the file's {file} bytes are still mapped", after - before);
    }
    drop(model);
    std::fs::remove_file(&path).unwrap();
}
