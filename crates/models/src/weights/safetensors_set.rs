use super::map::{map_file, populate, release};
use super::{missing, parse_header, Element, TensorInfo, WeightSource};
use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// One or more memory-mapped safetensors files that together hold one checkpoint.
pub struct SafetensorsSet {
    origin: String,
    files: Vec<Mmap>,
    tensors: HashMap<String, (usize, TensorInfo)>,
    metadata: HashMap<String, String>,
}

impl SafetensorsSet {
    /// Maps and validates all files; only headers are read. Errors: `ModelError::Io`, `ModelError::Weights` (also for a name in two files).
    pub fn open(paths: &[PathBuf], origin: &Path) -> Result<Self> {
        let mut set = Self { origin: origin.display().to_string(), files: Vec::new(), tensors: HashMap::new(), metadata: HashMap::new() };
        for path in paths {
            set.add(map_file(path)?, &path.display().to_string())?;
        }
        Ok(set)
    }

    /// Validates one file that is mapped already.
    pub(super) fn from_map(map: Mmap, origin: &str) -> Result<Self> {
        let mut set = Self { origin: origin.to_string(), files: Vec::new(), tensors: HashMap::new(), metadata: HashMap::new() };
        set.add(map, origin)?;
        Ok(set)
    }

    fn add(&mut self, map: Mmap, origin: &str) -> Result<()> {
        let header = parse_header(&map, origin)?;
        for (name, info) in header.tensors {
            if self.tensors.contains_key(&name) {
                return Err(ModelError::Weights(format!("Expected each tensor once in {} but {name} is in two files", self.origin)));
            }
            self.tensors.insert(name, (self.files.len(), info));
        }
        self.metadata.extend(header.metadata);
        self.files.push(map);
        Ok(())
    }

    /// The free text pairs of the files' `__metadata__`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    fn entry(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let (file, info) = self.tensors.get(name).ok_or_else(|| missing(name, &self.origin))?;
        let bytes = self.files.get(*file).and_then(|map| map.get(info.start..info.end));
        Ok((info, bytes.ok_or_else(|| missing(name, &self.origin))?))
    }

    /// All tensors with their places.
    pub fn infos(&self) -> impl Iterator<Item = (&String, &TensorInfo)> {
        self.tensors.iter().map(|(name, (_, info))| (name, info))
    }
}

impl WeightSource for SafetensorsSet {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.tensors.get(name).map(|(_, info)| (info.element, info.shape.clone()))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let (info, bytes) = self.entry(name)?;
        let tensor = info.element.decode(bytes, &info.shape, device);
        self.release(name);
        tensor
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        Ok(Cow::Borrowed(self.entry(name)?.1))
    }

    fn view(&self, name: &str) -> Option<&[u8]> {
        let (file, info) = self.tensors.get(name)?;
        let map = self.files.get(*file)?;
        populate(map, info.start..info.end);
        map.get(info.start..info.end)
    }

    fn release(&self, name: &str) {
        if let Some((file, info)) = self.tensors.get(name) {
            self.files.get(*file).into_iter().for_each(|map| release(map, info.start..info.end));
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.metadata.clone().into_iter().collect()
    }
}
