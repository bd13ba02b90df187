//! Readers of files from strangers: any bytes give a value or a typed error, never a crash or a giant allocation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device};
use nd_models::clip::{ClipTextConfig, ClipVisionConfig};
use nd_models::controlnet::{ControlNetConfig, UnionConfig};
use nd_models::unet::{UNet2DConditionModel, UNetConfig};
use nd_models::vae::{AutoencoderKL, TinyVaeConfig, VaeConfig};
use nd_models::weights::{parse_header, Weights};
use nd_models::LoadContext;
use proptest::prelude::*;
use serde_json::{json, Value};
use std::collections::HashMap;

fn valid_file() -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},"__metadata__":{"x":"y"}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[7; 32]].concat()
}

/// What a header promises lies in the file and decodes.
fn reads_soundly(bytes: &[u8]) {
    let Ok(header) = parse_header(bytes, "fuzz") else { return };
    for info in header.tensors.values() {
        assert!(info.start <= info.end && info.end <= bytes.len());
        assert_eq!(info.count() * info.element.bytes(), info.end - info.start);
        info.element.decode(&bytes[info.start..info.end], &info.shape, &Device::Cpu).unwrap();
    }
}

/// A number, text or list that a damaged or hostile config may hold.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..70).prop_map(Value::from),
        any::<f64>().prop_map(|v| json!(v)),
        Just(json!(1e308)),
        Just(json!(0)),
        "[a-zA-Z0-9_]{0,12}".prop_map(Value::from),
        Just(json!("CrossAttnUpBlock2D")),
        Just(json!("KDownBlock2D")),
        Just(json!("SimpleCrossAttnDownBlock2D")),
    ];
    leaf.prop_recursive(2, 12, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::from))
}

fn known_keys() -> Vec<String> {
    let mut keys: Vec<String> = UNetConfig::from_json(&json!({})).unwrap().file.values.keys().cloned().collect();
    keys.extend(VaeConfig::from_json(&json!({})).unwrap().file.values.keys().cloned());
    keys.extend(ClipTextConfig::from_json(&json!({})).unwrap().file.values.keys().cloned());
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_crash(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), truncate in any::<bool>()) {
        let mut bytes = valid_file();
        for (at, value) in &flips {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        reads_soundly(&bytes);
    }

    #[test]
    fn any_offsets_and_shapes_never_crash(shape in prop::collection::vec(any::<u64>(), 0..4), start in any::<u64>(), end in any::<u64>(), small in 0u64..40) {
        for (start, end) in [(start, end), (0, small), (small, 32)] {
            let header = format!(r#"{{"a":{{"dtype":"U8","shape":{shape:?},"data_offsets":[{start},{end}]}}}}"#);
            reads_soundly(&[&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 32]].concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_config_gives_a_typed_error_or_a_model_that_misses_its_weights(key in prop::sample::select(known_keys()), other in prop::sample::select(known_keys()), a in any_value(), b in any_value()) {
        let json = json!({ key: a, other: b });
        for error in [
            ClipTextConfig::from_json(&json).err(),
            ClipVisionConfig::from_json(&json).err(),
            ControlNetConfig::from_json(&json).err(),
            UnionConfig::from_json(&json).err(),
            TinyVaeConfig::from_json(&json).err(),
        ].into_iter().flatten() {
            prop_assert_eq!(error.code(), "ERR_CONFIG");
        }
        let nothing = || Weights::from_tensors(HashMap::new()).scope();
        let ctx = LoadContext::cpu(DType::F32);
        let unet = UNetConfig::from_json(&json).and_then(|config| UNet2DConditionModel::load(&config, nothing(), &ctx));
        let vae = VaeConfig::from_json(&json).and_then(|config| AutoencoderKL::load(&config, nothing(), &ctx));
        for code in [unet.err().unwrap().code(), vae.err().unwrap().code()] {
            prop_assert!(code == "ERR_CONFIG" || code == "ERR_WEIGHTS", "{}", code);
        }
    }

    #[test]
    fn any_text_is_no_header(text in "\\PC{0,200}") {
        reads_soundly(&[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            let _ = UNetConfig::from_json(&json);
        }
    }
}
