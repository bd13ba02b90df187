use super::gguf::{is_gguf, GgufFile};
use super::map::map_file;
use super::pickle::{is_pickle, is_zip, TorchFile};
use super::{missing, Element, SafetensorsSet, WeightSource};
use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens files that together hold one checkpoint, each by what it contains and not by its name: safetensors, torch's pickles (zip and legacy)
/// or GGUF. Only headers are read. Errors: `ModelError::Io`, `ModelError::Weights` (also for a name in two files).
pub(super) fn open_files(paths: &[PathBuf], origin: &Path) -> Result<Arc<dyn WeightSource>> {
    let mut sources: Vec<Arc<dyn WeightSource>> = paths.iter().map(|path| open_file(path)).collect::<Result<_>>()?;
    match sources.len() {
        1 => sources.pop().ok_or_else(|| ModelError::Weights(format!("Expected a file at {}", origin.display()))),
        _ => Ok(Arc::new(Joined::new(sources, origin.display().to_string())?)),
    }
}

/// Opens one file of any known format.
fn open_file(path: &Path) -> Result<Arc<dyn WeightSource>> {
    let map = map_file(path)?;
    let origin = path.display().to_string();
    if is_gguf(&map) {
        return Ok(Arc::new(GgufFile::new(map, origin)?));
    }
    if !is_safetensors(&map) && (is_zip(&map) || is_pickle(&map)) {
        return Ok(Arc::new(TorchFile::new(map, origin)?));
    }
    // The length may also look like a blank and a bracket.
    if let Some(what) = something_else(&map).filter(|_| !is_safetensors(&map)) {
        return Err(ModelError::Weights(format!("Expected weights (safetensors, torch or GGUF) but received {origin}: {what}")));
    }
    Ok(Arc::new(SafetensorsSet::from_map(map, &origin)?))
}

/// A length of the header that fits into the file, then JSON. The length may begin with the byte that a pickle begins with.
fn is_safetensors(file: &[u8]) -> bool {
    let length = file.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
    file.get(8) == Some(&b'{') && length <= file.len() as u64 - 8
}

/// What a file without weights is, for files that people often have instead.
fn something_else(file: &[u8]) -> Option<&'static str> {
    let start = file.get(..file.len().min(64)).unwrap_or_default();
    let text = String::from_utf8_lossy(start).to_lowercase();
    let text = text.trim_start();
    Some(match () {
        () if file.is_empty() => "it is empty",
        () if text.starts_with("version https://git-lfs") => "it is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
        () if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") => {
            "it is a web page, so the download went wrong (it may need a login)"
        }
        () if start.starts_with(b"\x89PNG") || start.starts_with(b"\xff\xd8\xff") => "it is a picture",
        () if start.starts_with(b"\x1f\x8b") || start.starts_with(b"7z\xbc\xaf") || start.starts_with(b"Rar!") => {
            "it is a packed archive; unpack it first"
        }
        () if text.starts_with('{') || text.starts_with('[') => "it is JSON",
        () => return None,
    })
}

/// Several sources as one.
pub(super) struct Joined {
    origin: String,
    sources: Vec<Arc<dyn WeightSource>>,
    owners: HashMap<String, usize>,
}

impl Joined {
    /// Errors: `ModelError::Weights` for a name in two sources.
    pub fn new(sources: Vec<Arc<dyn WeightSource>>, origin: String) -> Result<Self> {
        let mut owners = HashMap::new();
        for (at, source) in sources.iter().enumerate() {
            for name in source.names() {
                if owners.contains_key(&name) {
                    return Err(ModelError::Weights(format!("Expected each tensor once in {origin} but {name} is in two files")));
                }
                owners.insert(name, at);
            }
        }
        Ok(Self { origin, sources, owners })
    }

    fn owner(&self, name: &str) -> Option<&dyn WeightSource> {
        self.owners.get(name).and_then(|at| self.sources.get(*at)).map(|source| &**source)
    }
}

impl WeightSource for Joined {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn names(&self) -> Vec<String> {
        self.owners.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.owner(name)?.describe(name)
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.owner(name).ok_or_else(|| missing(name, &self.origin))?.read(name, device)
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        self.owner(name).ok_or_else(|| missing(name, &self.origin))?.bytes(name)
    }

    fn view(&self, name: &str) -> Option<&[u8]> {
        self.owner(name)?.view(name)
    }

    fn release(&self, name: &str) {
        if let Some(owner) = self.owner(name) {
            owner.release(name)
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.sources.iter().flat_map(|source| source.metadata()).collect()
    }

    fn stored(&self, name: &str) -> Option<(String, u64)> {
        self.owner(name)?.stored(name)
    }
}
