//! Where the pack is, and its files.

use safetensors::{Dtype, SafeTensors};
use serde_json::{json, Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;

pub fn pack() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var("PARITY_DIR").ok().map(PathBuf::from);
    let places = [named, Some(root.join("../shared/parity")), Some(root.join("test/fixtures/parity"))];
    places.into_iter().flatten().map(|p| p.join("schedulers")).find(|p| p.is_dir())
}

pub type Tensors = HashMap<String, Vec<f64>>;

pub fn tensors(path: PathBuf) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |view: safetensors::tensor::TensorView| -> Vec<f64> {
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            Dtype::F64 => data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => data.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("dtype {other:?}"),
        }
    };
    file.tensors().into_iter().map(|(name, view)| (name, read(view))).collect()
}

fn camel(key: &str) -> String {
    let mut out = String::new();
    for part in key.split('_') {
        let mut chars = part.chars();
        match (out.is_empty(), chars.next()) {
            (false, Some(c)) => out.extend(c.to_uppercase().chain(chars)),
            (_, Some(c)) => out.extend([c].into_iter().chain(chars)),
            _ => {}
        }
    }
    out
}

pub fn options(case: &Value, ays: &Value, begin: usize) -> String {
    let mut map = Map::new();
    for part in ["set_timesteps_kwargs", "step_kwargs"] {
        for (key, value) in case[part].as_object().into_iter().flatten() {
            let value = value.as_str().and_then(|s| s.strip_prefix("AYS:")).map_or(value, |name| &ays[name]);
            map.insert(camel(key), value.clone());
        }
    }
    if !case["steps"].is_null() {
        map.insert("numInferenceSteps".into(), case["steps"].clone());
    }
    map.insert("beginIndex".into(), json!(begin));
    Value::Object(map).to_string()
}
