//! Weights from safetensors files: validated, memory-mapped, read by checkpoint key.

mod element;
mod header;
mod locate;
mod safetensors_set;

pub use element::Element;
pub use header::{parse_header, Header, TensorInfo};
pub(crate) use locate::weight_files;
pub use locate::WeightsOptions;
pub use safetensors_set::SafetensorsSet;

use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Something that holds named tensors: files, tensors in memory, or a view that renames or patches another source.
pub trait WeightSource: Send + Sync {
    /// What the source is called in errors, usually a path.
    fn origin(&self) -> String;
    /// All tensor names, in no particular order.
    fn names(&self) -> Vec<String>;
    /// Element type and shape of a tensor, `None` when there is no such name.
    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)>;
    /// Reads one tensor as `Element::decode` does. Errors: `ModelError::Weights` for an unknown name.
    fn read(&self, name: &str, device: &Device) -> Result<Tensor>;
}

/// The weights of one model; cheap to clone, shares its source.
#[derive(Clone)]
pub struct Weights(Arc<dyn WeightSource>);

impl Weights {
    /// Opens a safetensors file, or the weights of a model folder (single or sharded, see `WeightsOptions`), without reading tensors.
    pub fn open(path: &Path, options: &WeightsOptions) -> Result<Self> {
        Ok(Self::new(SafetensorsSet::open(&weight_files(path, options)?, path)?))
    }

    /// Weights from any source.
    pub fn new(source: impl WeightSource + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Weights from tensors in memory.
    pub fn from_tensors(tensors: HashMap<String, Tensor>) -> Self {
        Self::new(InMemory(tensors))
    }

    /// A scope at the root of the checkpoint.
    pub fn scope(&self) -> WeightScope {
        WeightScope { weights: self.clone(), prefix: String::new() }
    }

    /// Element type and shape of a tensor.
    pub fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.0.describe(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        names.sort();
        names
    }

    /// Path or description for errors.
    pub fn origin(&self) -> String {
        self.0.origin()
    }

    /// Reads a tensor without asking for a shape.
    pub fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.0.read(name, device)
    }

    /// Reads a tensor of a known shape. Errors: `ModelError::Weights` when it is missing or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        match self.describe(name) {
            Some((_, found)) if found == shape => self.read(name, &Device::Cpu),
            Some((_, found)) => Err(ModelError::Weights(format!("Expected shape {shape:?} for {name} but received {found:?} in {}", self.origin()))),
            None => Err(missing(name, &self.origin())),
        }
    }
}

/// A place in a checkpoint, spelled as PyTorch spells module names; models are loaded from it.
#[derive(Clone)]
pub struct WeightScope {
    pub(crate) weights: Weights,
    pub(crate) prefix: String,
}

impl WeightScope {
    /// The scope of a submodule, e.g. `pp("down_blocks.0")`.
    pub fn pp(&self, name: &str) -> Self {
        Self { weights: self.weights.clone(), prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether the checkpoint has this key inside the scope.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.describe(&format!("{}{name}", self.prefix)).is_some()
    }

    /// The shape of a tensor inside the scope.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights.describe(&format!("{}{name}", self.prefix)).map(|(_, shape)| shape)
    }

    /// Whether any key of the checkpoint starts with this text inside the scope.
    pub fn has_prefix(&self, start: &str) -> bool {
        let start = format!("{}{start}", self.prefix);
        self.weights.0.names().iter().any(|name| name.starts_with(&start))
    }
}

struct InMemory(HashMap<String, Tensor>);

impl WeightSource for InMemory {
    fn origin(&self) -> String {
        "tensors in memory".to_string()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        let tensor = self.0.get(name)?;
        let element = match tensor.dtype() {
            candle_core::DType::F64 => Element::F64,
            candle_core::DType::F32 => Element::F32,
            candle_core::DType::F16 => Element::F16,
            candle_core::DType::BF16 => Element::BF16,
            candle_core::DType::U8 => Element::U8,
            candle_core::DType::U32 => Element::U32,
            _ => Element::I64,
        };
        Some((element, tensor.dims().to_vec()))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let tensor = self.0.get(name).ok_or_else(|| missing(name, &self.origin()))?;
        Ok(tensor.to_device(device)?)
    }
}

fn missing(name: &str, origin: &str) -> ModelError {
    ModelError::Weights(format!("Expected a tensor named {name} in {origin} but there is none"))
}
