//! A text encoder with made-up weights: what loading reports and what the arguments must be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_models::clip::{ClipTextConfig, ClipTextModel};
use nd_models::weights::Weights;
use nd_models::{CancelToken, LoadContext, ModelError};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const WIDTH: usize = 8;

fn config() -> ClipTextConfig {
    let json = json!({"vocab_size": 20, "hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 5, "eos_token_id": 2, "hidden_act": "quick_gelu"});
    ClipTextConfig::from_json(&json).unwrap()
}

fn tensors() -> HashMap<String, Tensor> {
    let mut all = HashMap::new();
    let mut put = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * 7 + name.len()) % 11) as f32 / 11.0 - 0.4).collect();
        all.insert(format!("text_model.{name}"), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    put("embeddings.token_embedding.weight", &[20, WIDTH]);
    put("embeddings.position_embedding.weight", &[5, WIDTH]);
    for (layer, inputs, outputs) in [
        ("self_attn.q_proj", 8, 8),
        ("self_attn.k_proj", 8, 8),
        ("self_attn.v_proj", 8, 8),
        ("self_attn.out_proj", 8, 8),
        ("mlp.fc1", 8, 16),
        ("mlp.fc2", 16, 8),
    ] {
        put(&format!("encoder.layers.0.{layer}.weight"), &[outputs, inputs]);
        put(&format!("encoder.layers.0.{layer}.bias"), &[outputs]);
    }
    for norm in ["encoder.layers.0.layer_norm1", "encoder.layers.0.layer_norm2", "final_layer_norm"] {
        put(&format!("{norm}.weight"), &[WIDTH]);
        put(&format!("{norm}.bias"), &[WIDTH]);
    }
    all
}

fn load(tensors: HashMap<String, Tensor>, ctx: &LoadContext) -> nd_models::Result<ClipTextModel> {
    ClipTextModel::load(&config(), Weights::from_tensors(tensors).scope(), ctx)
}

fn ids(rows: &[[i64; 3]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened(), (rows.len(), 3), &Device::Cpu).unwrap()
}

#[test]
fn progress_reaches_the_total_and_the_report_counts() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let progress = Box::new(move |done, total| seen.lock().unwrap().push((done, total)));
    let model = load(tensors(), &LoadContext { progress: Some(progress), ..LoadContext::cpu(DType::F32) }).unwrap();
    let calls = calls.lock().unwrap();
    let (done, total) = *calls.last().unwrap();
    assert_eq!((done, total), (model.report().bytes, model.report().parameters * 4));
    assert!(calls.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn missing_misshaped_and_unexpected_keys_are_told_together() {
    let mut tensors = tensors();
    tensors.retain(|name, _| !name.contains("self_attn"));
    tensors.insert("text_model.final_layer_norm.bias".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    tensors.insert("text_model.extra".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    let error = load(tensors, &LoadContext::cpu(DType::F32)).err().unwrap();
    assert_eq!(error.code(), "ERR_WEIGHTS");
    let text = error.to_string();
    assert!(text.contains("8 of 20 keys are missing: text_model.encoder.layers.0.self_attn.q_proj.weight, "), "{text}");
    assert!(text.contains(", ...; 1 do not fit: text_model.final_layer_norm.bias (expected [8], found [3])"), "{text}");
    assert!(text.ends_with("; 1 are unexpected: text_model.extra"), "{text}");
}

#[test]
fn integers_are_no_weights() {
    let mut tensors = tensors();
    tensors.insert("text_model.final_layer_norm.bias".into(), Tensor::zeros(8, DType::U8, &Device::Cpu).unwrap());
    let error = load(tensors, &LoadContext::cpu(DType::F32)).err().unwrap();
    assert!(error.to_string().contains("(expected floats, found u8)"), "{error}");
}

#[test]
fn arguments_are_checked_before_work_starts() {
    let model = load(tensors(), &LoadContext::cpu(DType::F32)).unwrap();
    let cancel = CancelToken::new();
    let long = Tensor::zeros((1, 6), DType::I64, &Device::Cpu).unwrap();
    let cases = [
        (long.clone(), "Expected integers of shape (B, L) with L at most 5 for input_ids but received [1, 6] of I64"),
        (
            long.narrow(1, 0, 3).unwrap().to_dtype(DType::F32).unwrap(),
            "Expected integers of shape (B, L) with L at most 5 for input_ids but received [1, 3] of F32",
        ),
        (ids(&[[0, 20, 1]]), "Expected token ids from 0 to 19 for input_ids but received 20"),
        (ids(&[[0, -1, 1]]), "Expected token ids from 0 to 19 for input_ids but received -1"),
    ];
    for (input, sentence) in cases {
        let error = model.forward(&input, &cancel).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), (sentence, "ERR_INVALID_ARGUMENT"));
    }
    cancel.cancel();
    assert!(matches!(model.forward(&ids(&[[1, 2, 3]]), &cancel), Err(ModelError::Cancelled)));
}

#[test]
fn loading_stops_when_cancelled() {
    let ctx = LoadContext::cpu(DType::F32);
    ctx.cancel.cancel();
    assert_eq!(load(tensors(), &ctx).err().unwrap().code(), "ABORT_ERR");
}

#[test]
fn half_precision_storage_stays_close() {
    let input = ids(&[[3, 7, 19], [1, 1, 4]]);
    let run = |dtype| load(tensors(), &LoadContext::cpu(dtype)).unwrap().forward(&input, &CancelToken::new()).unwrap();
    let reference = run(DType::F32);
    // f16 keeps 11 bits and bf16 8: about 5e-4 and 4e-3 of values near 1, a few layers deep.
    for (dtype, tolerance) in [(DType::F16, 5e-3), (DType::BF16, 5e-2)] {
        let half = run(dtype);
        let difference = (half.last_hidden_state - &reference.last_hidden_state).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        assert!(difference.to_vec0::<f32>().unwrap() < tolerance);
    }
}

#[test]
fn two_threads_share_a_model() {
    let model = load(tensors(), &LoadContext::cpu(DType::F32)).unwrap();
    let input = ids(&[[3, 7, 19]]);
    let run = || model.forward(&input, &CancelToken::new()).unwrap().pooler_output.to_vec2::<f32>().unwrap();
    let alone = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}
