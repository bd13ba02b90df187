//! What a folder or file holds, told from configs and headers alone.

mod checkpoint;

use crate::config::read_json;
use crate::error::{ModelError, Result};
use crate::weights::{Weights, WeightsOptions};
use checkpoint::{facts, memory, totals};
use serde_json::{json, Map, Value};
use std::path::Path;

/// Describes a pipeline folder, a model folder or a weights file of any format: `kind` (`pipeline`, `component`, `checkpoint`, `lora`, ...),
/// `class`, `family` (`sd1`, `sd2`, `sdxl`, `sdxl-refiner` or null), `dtype`, `types`, `tensors`, `parameters`, `bytes`, `memory` by dtype and
/// `components`; for files also what `Detected` tells, `lora` facts and `metadata`. Reads headers, and of tensors only scalars. Errors: `ModelError::Io`, `ModelError::Weights`, `ModelError::Config`, `ModelError::Argument` for anything else.
pub fn inspect(path: &Path) -> Result<Value> {
    let metadata = std::fs::metadata(path).map_err(|source| ModelError::Io { path: path.to_path_buf(), source })?;
    if !metadata.is_dir() {
        return file(path);
    }
    if path.join("model_index.json").is_file() {
        return pipeline(path);
    }
    if path.join("config.json").is_file() {
        return component(path);
    }
    Err(ModelError::argument("path", "a folder with model_index.json or config.json, or a weights file", path.display()))
}

fn pipeline(path: &Path) -> Result<Value> {
    let index = read_json(&path.join("model_index.json"))?;
    let entries = index.as_object().ok_or_else(|| ModelError::config("model_index.json", "a JSON object", "another value"))?;
    let mut components = Map::new();
    let (mut parameters, mut bytes) = (0, 0);
    let mut family = Value::Null;
    for (name, value) in entries.iter().filter(|(name, value)| !name.starts_with('_') && value.is_array()) {
        let folder = path.join(name);
        let found = if folder.join("config.json").is_file() {
            component(&folder)?
        } else {
            json!({ "kind": "component", "class": value[1], "present": folder.is_dir() })
        };
        parameters += found["parameters"].as_u64().unwrap_or(0);
        bytes += found["bytes"].as_u64().unwrap_or(0);
        if family.is_null() {
            family = found["family"].clone();
        }
        components.insert(name.clone(), found);
    }
    Ok(json!({
        "kind": "pipeline",
        "class": index["_class_name"],
        "family": family,
        "dtype": components.values().find_map(|c| c["dtype"].as_str()),
        "parameters": parameters,
        "bytes": bytes,
        "memory": memory(parameters),
        "components": components,
    }))
}

fn component(path: &Path) -> Result<Value> {
    let config = read_json(&path.join("config.json"))?;
    let class = config["_class_name"].as_str().or(config["architectures"][0].as_str()).unwrap_or("");
    let mut found = match Weights::open(path, &WeightsOptions::default()) {
        Ok(weights) => totals(&weights),
        Err(_) => any_variant(path)?,
    };
    found.insert("kind".into(), "component".into());
    found.insert("class".into(), class.into());
    found.insert("family".into(), family(&config).map_or(Value::Null, Value::from));
    Ok(Value::Object(found))
}

/// A folder without plain weights may hold a variant only, or none at all.
fn any_variant(path: &Path) -> Result<Map<String, Value>> {
    let entries = std::fs::read_dir(path).map_err(|source| ModelError::Io { path: path.to_path_buf(), source })?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "safetensors")).collect();
    files.sort();
    match files.first() {
        Some(first) => Ok(totals(&Weights::open(first, &WeightsOptions::default())?)),
        None => Ok(Map::from_iter([("parameters".to_string(), json!(0)), ("bytes".to_string(), json!(0))])),
    }
}

fn file(path: &Path) -> Result<Value> {
    let weights = Weights::open(path, &WeightsOptions::default())?;
    let mut found = facts(&weights);
    found.extend(totals(&weights));
    found.insert("metadata".into(), json!(weights.metadata()));
    Ok(Value::Object(found))
}

/// The family that a UNet's or ControlNet's config belongs to, by the width of its text.
fn family(config: &Value) -> Option<&'static str> {
    let width = config.get("cross_attention_dim")?;
    let width = width.as_u64().or(width[0].as_u64())?;
    family_of_width(width as usize)
}

/// The family whose cross-attention reads text of this width.
pub(crate) fn family_of_width(width: usize) -> Option<&'static str> {
    match width {
        768 => Some("sd1"),
        1024 => Some("sd2"),
        2048 => Some("sdxl"),
        1280 => Some("sdxl-refiner"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_pipeline_folder_lists_its_components() {
        let dir = std::env::temp_dir().join(format!("inspect-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("vae")).unwrap();
        std::fs::write(dir.join("model_index.json"), r#"{"_class_name": "X", "vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "U"]}"#)
            .unwrap();
        std::fs::write(dir.join("vae/config.json"), r#"{"_class_name": "AutoencoderKL"}"#).unwrap();
        let found = inspect(&dir).unwrap();
        assert_eq!(found["components"]["vae"]["class"], "AutoencoderKL");
        assert_eq!(found["components"]["unet"]["present"], false);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(inspect(&dir).unwrap_err().code(), "ERR_WEIGHTS");
    }
}
