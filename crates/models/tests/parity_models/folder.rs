use candle_core::{DType, Device, Tensor};
use nd_models::weights::{WeightScope, Weights, WeightsOptions};
use nd_models::{read_json, LoadContext, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One folder of the pack: a model and its stored calls.
pub struct Folder {
    pub name: String,
    pub path: PathBuf,
    pub io: Value,
    tensors: Weights,
}

/// One stored call.
pub struct Call {
    pub name: String,
    pub info: Value,
    pub is_error: bool,
    tensors: Weights,
}

impl Folder {
    pub fn open(path: &Path) -> Self {
        let io = read_json(&path.join("io.json")).unwrap();
        let tensors = Weights::open(&path.join("io.safetensors"), &WeightsOptions::default()).unwrap();
        Self { name: path.file_name().unwrap().to_string_lossy().into_owned(), path: path.to_path_buf(), io, tensors }
    }

    /// `_class_name` of diffusers, the architecture of transformers, or an empty text.
    pub fn class(&self) -> String {
        let config = self.config();
        let class = config["_class_name"].as_str().or(config["architectures"][0].as_str());
        class.unwrap_or("").to_string()
    }

    pub fn config(&self) -> Value {
        read_json(&self.path.join("config.json")).unwrap_or(Value::Null)
    }

    pub fn weights(&self) -> Result<WeightScope> {
        scope(&self.path)
    }

    pub fn calls(&self) -> Vec<Call> {
        let call = |info: &Value| Call {
            name: info["call"].as_str().unwrap().to_string(),
            info: info.clone(),
            is_error: info.get("error").is_some(),
            tensors: self.tensors.clone(),
        };
        self.io["calls"].as_array().unwrap().iter().map(call).collect()
    }
}

pub fn scope(path: &Path) -> Result<WeightScope> {
    Ok(Weights::open(path, &WeightsOptions::default())?.scope())
}

pub fn context() -> LoadContext {
    LoadContext::cpu(DType::F32)
}

impl Call {
    fn get(&self, kind: &str, name: &str) -> Option<Tensor> {
        let key = format!("{}/{kind}/{name}", self.name);
        self.tensors.describe(&key).map(|_| self.tensors.read(&key, &Device::Cpu).unwrap())
    }

    pub fn input(&self, name: &str) -> Option<Tensor> {
        self.get("in", name)
    }

    pub fn need(&self, name: &str) -> Tensor {
        self.input(name).unwrap_or_else(|| panic!("no input {name} in {}", self.name))
    }

    pub fn output(&self, name: &str) -> Option<Tensor> {
        self.get("out", name)
    }

    pub fn output_names(&self) -> Vec<String> {
        self.info["out"].as_object().unwrap().keys().cloned().collect()
    }

    /// The inputs `name.0`, `name.1`, ...
    pub fn inputs(&self, name: &str) -> Vec<Tensor> {
        (0..).map_while(|i| self.input(&format!("{name}.{i}"))).collect()
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.info[key].as_f64()
    }

    pub fn timesteps(&self) -> Vec<f64> {
        self.need("timestep").to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}
