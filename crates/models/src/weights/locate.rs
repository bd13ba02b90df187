use crate::error::{ModelError, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How the weights of a folder are found.
#[derive(Clone, Debug)]
pub struct WeightsOptions {
    /// The `fp16` of `diffusion_pytorch_model.fp16.safetensors`; default none.
    pub variant: Option<String>,
    /// File names without extension, tried in order; default `diffusion_pytorch_model`, `model`.
    pub basenames: Vec<String>,
}

impl Default for WeightsOptions {
    fn default() -> Self {
        Self { variant: None, basenames: vec!["diffusion_pytorch_model".into(), "model".into()] }
    }
}

/// File names of transformers' pickles; those of diffusers have the name of the safetensors file.
const PICKLE_BASENAMES: [&str; 2] = ["diffusion_pytorch_model", "pytorch_model"];

/// The files behind a path: the file itself, or for a folder the single file or the shards of its index; `.bin` where no safetensors exists.
pub(crate) fn weight_files(path: &Path, options: &WeightsOptions) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(path).map_err(|source| ModelError::Io { path: path.to_path_buf(), source })?;
    if !metadata.is_dir() {
        let is_index = path.extension().is_some_and(|e| e == "json");
        return if is_index { shards(path) } else { Ok(vec![path.to_path_buf()]) };
    }
    let safetensors = options.basenames.iter().map(|basename| (basename.as_str(), "safetensors"));
    let pickles = PICKLE_BASENAMES.iter().map(|basename| (*basename, "bin"));
    for (basename, extension) in safetensors.chain(pickles) {
        let (single, index) = match &options.variant {
            Some(v) => (format!("{basename}.{v}.{extension}"), format!("{basename}.{extension}.index.{v}.json")),
            None => (format!("{basename}.{extension}"), format!("{basename}.{extension}.index.json")),
        };
        if path.join(&single).is_file() {
            return Ok(vec![path.join(single)]);
        }
        if path.join(&index).is_file() {
            return shards(&path.join(index));
        }
    }
    Err(nothing_found(path, options))
}

fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let fail = |what: String| ModelError::Weights(format!("Expected a valid shard index but received {}: {what}", index.display()));
    let text = std::fs::read_to_string(index).map_err(|source| ModelError::Io { path: index.to_path_buf(), source })?;
    let json: Value = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
    let map = json.get("weight_map").and_then(Value::as_object).ok_or_else(|| fail("it has no weight_map".into()))?;
    let mut names = BTreeSet::new();
    for (key, file) in map {
        let file = file.as_str().ok_or_else(|| fail(format!("the file of {key} is no text")))?;
        let plain = Path::new(file).file_name().is_some_and(|name| name == file);
        if !plain {
            return Err(fail(format!("the file {file} of {key} is not a plain file name")));
        }
        names.insert(file.to_string());
    }
    if names.is_empty() {
        return Err(fail("it lists no files".into()));
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

fn nothing_found(folder: &Path, options: &WeightsOptions) -> ModelError {
    let names: Vec<String> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
        Err(source) => return ModelError::Io { path: folder.to_path_buf(), source },
    };
    let mut present: Vec<&str> = names.iter().map(String::as_str).filter(|n| n.contains(".safetensors") || n.ends_with(".bin")).collect();
    present.sort_unstable();
    let variant = options.variant.as_ref().map(|v| format!(" of variant {v}")).unwrap_or_default();
    let found = if present.is_empty() { "no weights at all".to_string() } else { present.join(", ") };
    let wanted = options.basenames.join(".safetensors or ");
    ModelError::Weights(format!("Expected {wanted}.safetensors{variant} in {} but received {found}", folder.display()))
}
