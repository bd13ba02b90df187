use super::{Element, Weights};
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::load::Progress;
use candle_core::{DType, Device};
use serde_json::{json, Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How weights are written.
pub struct SaveOptions {
    /// Type of all floats; default that of each tensor in its source.
    pub dtype: Option<Element>,
    /// Bytes above which the weights are split into several files with an index; default one file.
    pub max_shard_bytes: Option<u64>,
    /// The `fp16` of `model.fp16.safetensors`.
    pub variant: Option<String>,
    /// Free texts for `__metadata__`, beside `format`.
    pub metadata: BTreeMap<String, String>,
    pub cancel: CancelToken,
    pub progress: Option<Progress>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { dtype: None, max_shard_bytes: None, variant: None, metadata: BTreeMap::new(), cancel: CancelToken::new(), progress: None }
    }
}

/// One tensor on its way to a file.
struct Item {
    name: String,
    element: Element,
    shape: Vec<usize>,
    bytes: u64,
}

/// Writes weights as safetensors to `folder/basename.safetensors`, or as shards with an index where they are larger than a shard may be.
/// Each file is written under a temporary name and renamed when it is complete; returns the paths. One tensor is in memory at a time.
/// Errors: `ModelError::Io`, `ModelError::Cancelled`, `ModelError::Argument` for a dtype that weights cannot have.
pub fn write_weights(weights: &Weights, folder: &Path, basename: &str, options: &SaveOptions) -> Result<Vec<PathBuf>> {
    let items = plan(weights, options)?;
    let total: u64 = items.iter().map(|item| item.bytes).sum();
    let shards = split(items, options.max_shard_bytes);
    let infix = options.variant.as_ref().map(|variant| format!(".{variant}")).unwrap_or_default();
    let count = shards.len();
    let mut written = Vec::new();
    let mut map = Map::new();
    let mut done = 0;
    for (at, shard) in shards.iter().enumerate() {
        let number = if count == 1 { String::new() } else { format!("-{:05}-of-{count:05}", at + 1) };
        let name = format!("{basename}{infix}{number}.safetensors");
        let path = folder.join(&name);
        let mut told = |bytes: u64| {
            done += bytes;
            if let Some(progress) = &options.progress {
                progress(done, total);
            }
        };
        atomically(&path, |file| write_file(file, weights, shard, options, &mut told))?;
        map.extend(shard.iter().map(|item| (item.name.clone(), Value::from(name.clone()))));
        written.push(path);
    }
    if count > 1 {
        let index =
            options.variant.as_ref().map_or(format!("{basename}.safetensors.index.json"), |v| format!("{basename}.safetensors.index.{v}.json"));
        let text = format!("{:#}\n", json!({ "metadata": { "total_size": total }, "weight_map": map }));
        let path = folder.join(index);
        atomically(&path, |file| file.write_all(text.as_bytes()).map_err(io(&path)))?;
        written.push(path);
    }
    Ok(written)
}

/// Writes weights as one safetensors file at this path, as `write_weights` does.
pub fn save(weights: &Weights, path: &Path, options: &SaveOptions) -> Result<()> {
    let items = plan(weights, options)?;
    atomically(path, |file| write_file(file, weights, &items, options, &mut |_| ()))
}

/// The largest elements first, so that each tensor begins at a multiple of its element's size; then by name.
fn plan(weights: &Weights, options: &SaveOptions) -> Result<Vec<Item>> {
    if let Some(other) = options.dtype.filter(|dtype| !matches!(dtype, Element::F32 | Element::F16 | Element::BF16)) {
        return Err(ModelError::argument("dtype", "f32, f16 or bf16", other.name()));
    }
    let item = |name: String| {
        let (element, shape) = weights.describe(&name)?;
        let element = options.dtype.filter(|_| element.is_float()).unwrap_or(element);
        let bytes = shape.iter().product::<usize>() as u64 * element.bytes() as u64;
        Some(Item { name, element, shape, bytes })
    };
    let mut items: Vec<Item> = weights.names().into_iter().filter_map(item).collect();
    items.sort_by(|a, b| b.element.bytes().cmp(&a.element.bytes()).then_with(|| a.name.cmp(&b.name)));
    Ok(items)
}

fn split(items: Vec<Item>, max: Option<u64>) -> Vec<Vec<Item>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for item in items {
        if size > 0 && max.is_some_and(|max| size + item.bytes > max) {
            shards.push(Vec::new());
            size = 0;
        }
        size += item.bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push(item);
        }
    }
    shards
}

fn write_file(file: &mut File, weights: &Weights, items: &[Item], options: &SaveOptions, told: &mut dyn FnMut(u64)) -> Result<()> {
    let mut header = Map::new();
    let mut metadata = options.metadata.clone();
    metadata.insert("format".into(), "pt".into());
    header.insert("__metadata__".into(), json!(metadata));
    let mut at = 0;
    for item in items {
        header.insert(item.name.clone(), json!({ "dtype": item.element.tag(), "shape": item.shape, "data_offsets": [at, at + item.bytes] }));
        at += item.bytes;
    }
    let mut text = Value::Object(header).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let origin = PathBuf::from(weights.origin());
    file.write_all(&(text.len() as u64).to_le_bytes()).and_then(|()| file.write_all(text.as_bytes())).map_err(io(&origin))?;
    for item in items {
        options.cancel.check()?;
        let bytes = converted(weights, item)?;
        if bytes.len() as u64 != item.bytes {
            return Err(ModelError::Weights(format!(
                "Expected {} bytes for {} in {} but received {}",
                item.bytes,
                item.name,
                weights.origin(),
                bytes.len()
            )));
        }
        file.write_all(&bytes).map_err(io(&origin))?;
        told(item.bytes);
    }
    Ok(())
}

fn converted<'w>(weights: &'w Weights, item: &Item) -> Result<Cow<'w, [u8]>> {
    let same = weights.describe(&item.name).is_some_and(|(element, _)| element == item.element);
    let dtype = match item.element {
        _ if same => return weights.bytes(&item.name),
        Element::F16 => DType::F16,
        Element::BF16 => DType::BF16,
        _ => DType::F32,
    };
    super::tensor_bytes(&weights.read(&item.name, &Device::Cpu)?.to_dtype(dtype)?).map(Cow::Owned)
}

/// Writes a file under a temporary name beside it and renames it when it is complete and on the disk; a failure leaves nothing behind.
pub fn atomically(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = PathBuf::from(name);
    let written = File::create(&temporary).map_err(io(path)).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all().map_err(io(path))
    });
    written.and_then(|()| std::fs::rename(&temporary, path).map_err(io(path))).inspect_err(|_| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    })
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> ModelError + '_ {
    |source| ModelError::Io { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::weights::{SeededWeights, WeightSource, WeightsOptions};

    #[test]
    fn what_was_saved_is_read_back() {
        let seeded = SeededWeights::new(3, DType::F32);
        seeded.want("conv.weight", &[4, 3, 3, 3]);
        seeded.want("conv.bias", &[4]);
        let (made, path) = (Weights::new(seeded), std::env::temp_dir().join(format!("nd-save-{}.safetensors", std::process::id())));
        save(&made, &path, &SaveOptions { dtype: Some(Element::F32), ..Default::default() }).unwrap();
        let read = Weights::open(&path, &WeightsOptions::default()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.names(), ["conv.bias", "conv.weight"]);
        let values = |weights: &Weights| weights.read("conv.weight", &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&read), values(&made));
    }
}
