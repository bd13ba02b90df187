//! Adapter files from strangers: any keys, shapes, numbers and texts give a report or a typed error, and no more memory than twice the file to open them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fuzz;

use candle_core::DType;
use fuzz::{opened, readable, Numbers};
use nd_models::lora::{report, Adapter, BlockWeights, Component, LoraFile};
use nd_models::unet::{UNet2DConditionModel, UNetConfig};
use nd_models::weights::{SeededWeights, Weights};
use nd_models::LoadContext;
use serde_json::{json, Map, Value};
use std::path::Path;
use std::sync::Arc;

const FILES: usize = 10_000;

const LAYERS: [&str; 7] = [
    "lora_unet_down_blocks_0_resnets_0_conv1",
    "lora_unet_mid_block_resnets_0_time_emb_proj",
    "lora_unet_conv_in",
    "unet.conv_out",
    "lora_te_text_model_encoder_layers_0_mlp_fc1",
    "bundle_emb.ring",
    "",
];
const ENDINGS: [&str; 35] = [
    ".lora_down.weight",
    ".lora_up.weight",
    ".lora_mid.weight",
    ".lora_A.weight",
    ".lora_B.weight",
    ".alpha",
    ".scalar",
    ".dora_scale",
    ".lora_magnitude_vector",
    ".hada_w1_a",
    ".hada_w1_b",
    ".hada_w2_a",
    ".hada_w2_b",
    ".hada_t1",
    ".hada_t2",
    ".lokr_w1",
    ".lokr_w1_a",
    ".lokr_w1_b",
    ".lokr_w2",
    ".lokr_w2_a",
    ".lokr_w2_b",
    ".lokr_t2",
    ".diff",
    ".diff_b",
    ".on_input",
    ".weight",
    ".a1.weight",
    ".a2.weight",
    ".b1.weight",
    ".b2.weight",
    ".bm.weight",
    ".oft_blocks",
    ".oft_diag",
    ".rescale",
    ".string_to_param.*",
];
/// Sizes that occur in the model, and some that fit nothing.
const SIZES: [usize; 8] = [4, 8, 2, 1, 3, 16, 0, 7];
const TEXTS: [&str; 4] = ["ss_tag_frequency", "lora_adapter_metadata", "modelspec.trigger_phrase", "ss_network_args"];
const VALUES: [&str; 6] = ["{", r#"{"a": {"b": 1e999}}"#, r#"{"unet.lora_alpha": "x"}"#, "[[[", r#"{"unet.r": -1, "unet.lora_alpha": 0}"#, ""];

/// The parts of one algorithm, mostly, with shapes that fit, mostly.
fn adapter(numbers: &mut Numbers) -> Vec<u8> {
    let mut header = Map::new();
    let (mut data, first) = (Vec::new(), numbers.below(ENDINGS.len()));
    for i in 0..=numbers.below(8) {
        let ending = if numbers.below(3) == 0 { numbers.pick(&ENDINGS) } else { &ENDINGS[(first + i) % ENDINGS.len()] };
        let name = format!("{}{ending}", LAYERS[if numbers.below(3) == 0 { numbers.below(LAYERS.len()) } else { 0 }]);
        let rank = if *ending == ".alpha" { 0 } else { numbers.below(5) };
        let shape: Vec<usize> = (0..rank).map(|_| if numbers.below(2) == 0 { 4 } else { *numbers.pick(&SIZES) }).collect();
        let start = data.len();
        for _ in 0..shape.iter().product() {
            let value = [0.5f32, -1.0, 0.0, f32::NAN, f32::INFINITY, 1e30, 2.0, 4.0][numbers.below(8)];
            data.extend_from_slice(&value.to_le_bytes());
        }
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    }
    // A key that came twice leaves a hole in the data, which opening refuses: a case of its own.
    if numbers.below(2) == 0 {
        header.insert("__metadata__".into(), json!({ *numbers.pick(&TEXTS): numbers.pick(&VALUES) }));
    }
    let text = Value::Object(header).to_string();
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &data].concat()
}

fn model() -> UNet2DConditionModel {
    let config = json!({
        "block_out_channels": [4], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "mid_block_type": "UNetMidBlock2D",
        "layers_per_block": 1, "norm_num_groups": 2, "cross_attention_dim": 8,
    });
    let weights = Weights::new(SeededWeights::new(1, DType::F32)).scope();
    UNet2DConditionModel::load(&UNetConfig::from_json(&config).unwrap(), weights, &LoadContext::cpu(DType::F32)).unwrap()
}

/// Opens an adapter, matches it and applies it; returns whether it found a layer.
fn look(path: &Path, size: usize, unet: &UNet2DConditionModel) -> bool {
    let told = |error: nd_models::ModelError| assert_eq!(error.code(), "ERR_WEIGHTS", "{error}");
    let file = match opened(size, || LoraFile::open(path)) {
        Ok(file) => Arc::new(file),
        Err(error) => {
            told(error);
            return false;
        }
    };
    let _ = file.summary();
    let _ = file.bundled().map_err(told);
    if let Err(error) = report(&file, &[(Component::Unet, unet.modules())]) {
        told(error);
        return false;
    }
    let adapters = [Adapter { file, weights: BlockWeights::new(0.7, Default::default()).unwrap() }];
    // Numbers that cannot be worked with are errors of the layer that works with them.
    let _ = unet.with_adapters(&adapters, LoadContext::cpu(DType::F32));
    true
}

#[test]
fn ten_thousand_odd_adapters_never_crash() {
    let unet = model();
    let mut numbers = Numbers(3);
    let applied = readable("adapter", (0..FILES).map(|_| adapter(&mut numbers)), |path, size| look(path, size, &unet));
    // Both outcomes must occur, else the files test nothing.
    assert!(applied > 50 && applied < FILES, "{applied} of {FILES} were applied");
}
