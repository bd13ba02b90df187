//! Weights from safetensors, torch and GGUF files: validated, memory-mapped, read by checkpoint key.

mod element;
mod gguf;
mod header;
mod locate;
mod map;
mod open;
mod pickle;
mod safetensors_set;
mod seeded;
mod strided;
mod write;

pub use element::Element;
pub use header::{parse_header, Header, TensorInfo};
pub(crate) use locate::weight_files;
pub use locate::WeightsOptions;
pub use safetensors_set::SafetensorsSet;
pub use seeded::SeededWeights;
pub use write::{atomically, save, write_weights, SaveOptions};

use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Something that holds named tensors: files, tensors in memory, or a view that renames or patches another source.
pub trait WeightSource: Send + Sync {
    /// What the source is called in errors, usually a path.
    fn origin(&self) -> String;
    /// All tensor names, in no particular order.
    fn names(&self) -> Vec<String>;
    /// Told which shape a model has for a name before it is described or read; for sources that make their tensors up.
    fn want(&self, _name: &str, _shape: &[usize]) {}
    /// Element type and shape of a tensor, `None` when there is no such name.
    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)>;
    /// Reads one tensor as `Element::decode` does. Errors: `ModelError::Weights` for an unknown name.
    fn read(&self, name: &str, device: &Device) -> Result<Tensor>;
    /// The values of one tensor in the type that `describe` tells, row-major and little-endian; borrowed where the file has them so.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        tensor_bytes(&self.read(name, &Device::Cpu)?).map(Cow::Owned)
    }
    /// The bytes of one tensor as `bytes` has them, if they lie so in a mapped file.
    fn view(&self, _name: &str) -> Option<&[u8]> {
        None
    }
    /// Tells that a tensor is not needed for now: what was read of a mapped file then counts no longer as memory of this process.
    fn release(&self, _name: &str) {}
    /// Free texts beside the tensors.
    fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    /// Name of the type that the file keeps a tensor in, such as `f16` or `q4k`, and its bytes there.
    fn stored(&self, name: &str) -> Option<(String, u64)> {
        let (element, shape) = self.describe(name)?;
        Some((element.name(), shape.iter().product::<usize>() as u64 * element.bytes() as u64))
    }
}

/// The values of a tensor in row-major order, little-endian.
pub(crate) fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let flat = tensor.to_device(&Device::Cpu)?.flatten_all()?;
    let count = flat.elem_count();
    let mut bytes = Vec::with_capacity(count * flat.dtype().size_in_bytes());
    flat.write_bytes(&mut bytes)?;
    Ok(bytes)
}

/// The weights of one model; cheap to clone, shares its source.
#[derive(Clone)]
pub struct Weights(Arc<dyn WeightSource>);

impl Weights {
    /// Opens a weights file of any format, or the weights of a model folder (single or sharded, see `WeightsOptions`), without reading
    /// tensors.
    pub fn open(path: &Path, options: &WeightsOptions) -> Result<Self> {
        Ok(Self(open::open_files(&weight_files(path, options)?, path)?))
    }

    /// Weights from any source.
    pub fn new(source: impl WeightSource + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Several sources as one. Errors: `ModelError::Weights` for a name in two of them.
    pub fn join(sources: Vec<Self>, origin: &str) -> Result<Self> {
        Ok(Self::new(open::Joined::new(sources.into_iter().map(|source| source.0).collect(), origin.to_string())?))
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

    /// Tells the source which shape a model has for a name.
    pub fn want(&self, name: &str, shape: &[usize]) {
        self.0.want(name, shape)
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

    /// The values of a tensor in the type that `describe` tells, row-major and little-endian.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        self.0.bytes(name)
    }

    /// The bytes of a tensor if they lie in a mapped file as `bytes` has them; [`Weights::release`] afterwards gives the pages back.
    pub(crate) fn view(&self, name: &str) -> Option<&[u8]> {
        self.0.view(name)
    }

    /// Tells that a tensor is not needed for now.
    pub(crate) fn release(&self, name: &str) {
        self.0.release(name)
    }

    /// Free texts beside the tensors: `__metadata__` of safetensors, numbers and texts beside a `state_dict`, a GGUF header's pairs.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.0.metadata()
    }

    /// Name of the type that the file keeps a tensor in, and its bytes there.
    pub fn stored(&self, name: &str) -> Option<(String, u64)> {
        self.0.stored(name)
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

pub(crate) fn missing(name: &str, origin: &str) -> ModelError {
    ModelError::Weights(format!("Expected a tensor named {name} in {origin} but there is none"))
}
