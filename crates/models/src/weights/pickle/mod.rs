//! Tensors in files that Python's `torch.save` wrote, read without Python and without running anything.

mod call;
mod flatten;
mod machine;
mod value;
mod zip;

use super::map::{populate, release};
use super::strided::Strided;
use super::{missing, Element, WeightSource};
use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};
use flatten::flatten;
use machine::Machine;
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use value::{Heap, Value};

/// First number of a file that `torch.save` wrote before version 1.6: protocol 2 and the magic number as a long of ten bytes.
const LEGACY_START: [u8; 14] = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether a file begins as a torch zip archive does.
pub(super) fn is_zip(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04")
}

/// Whether a file begins as a pickle of any kind does.
pub(super) fn is_pickle(file: &[u8]) -> bool {
    file.starts_with(&[0x80]) && file.get(1).is_some_and(|protocol| *protocol <= 5)
}

/// A memory-mapped `.ckpt`, `.pt`, `.pth` or `.bin` file.
pub struct TorchFile {
    origin: String,
    map: Mmap,
    tensors: HashMap<String, (Element, Strided)>,
    scalars: BTreeMap<String, String>,
}

impl TorchFile {
    /// Reads the pickle of a mapped file; the numbers stay in the file. Errors: `ModelError::Weights` for a damaged file, for one that asks
    /// for a function to be called (naming it), for a TorchScript archive or compressed entries.
    pub(super) fn new(map: Mmap, origin: String) -> Result<Self> {
        let fail = |what: String| ModelError::Weights(format!("Expected tensors in a torch file but received {origin}: {what}"));
        let found = if is_zip(&map) { read_zip(&map) } else { read_legacy(&map) };
        let (tensors, scalars) = found.map_err(fail)?;
        Ok(Self { origin, map, tensors, scalars })
    }

    fn entry(&self, name: &str) -> Result<&(Element, Strided)> {
        self.tensors.get(name).ok_or_else(|| missing(name, &self.origin))
    }
}

impl WeightSource for TorchFile {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.tensors.get(name).map(|(element, view)| (*element, view.shape.clone()))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let (element, view) = self.entry(name)?;
        let tensor = element.decode(&view.bytes(&self.map, element.bytes()), &view.shape, device);
        self.release(name);
        tensor
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let (element, view) = self.entry(name)?;
        Ok(view.bytes(&self.map, element.bytes()))
    }

    fn view(&self, name: &str) -> Option<&[u8]> {
        let view = &self.tensors.get(name)?.1;
        populate(&self.map, view.range.clone());
        view.in_place(&self.map)
    }

    fn release(&self, name: &str) {
        if let Some((_, view)) = self.tensors.get(name) {
            release(&self.map, view.range.clone())
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.scalars.clone()
    }
}

type Found = (HashMap<String, (Element, Strided)>, BTreeMap<String, String>);

/// `archive/data.pkl` beside `archive/data/<key>`. Source: torch serialization.py `_load`.
fn read_zip(file: &[u8]) -> std::result::Result<Found, String> {
    let entries = zip::entries(file)?;
    let Some(root) = entries.keys().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err("it is a zip archive without data.pkl".into());
    };
    if entries.contains_key(&format!("{root}constants.pkl")) {
        return Err("it is a TorchScript program, not a checkpoint".into());
    }
    let text = |name: &str| entries.get(&format!("{root}{name}")).and_then(|range| file.get(range.clone()));
    if text("byteorder").is_some_and(|order| order.starts_with(b"big")) {
        return Err("its numbers are big-endian".into());
    }
    let mut machine = Machine::new(text("data.pkl").unwrap_or_default(), file.len());
    let value = machine.run()?;
    let place = |key: &str| entries.get(&format!("{root}data/{key}")).cloned();
    resolve(&machine.heap, &value, file, place)
}

/// Magic number, protocol, system facts, the object and the list of storages as five pickles, then each storage's length and numbers.
/// Source: torch serialization.py `_legacy_load`.
fn read_legacy(file: &[u8]) -> std::result::Result<Found, String> {
    if !file.starts_with(&LEGACY_START) {
        return Err(plain_pickle(file));
    }
    let mut machine = Machine::new(file, file.len());
    for _ in 0..3 {
        machine.run()?;
    }
    let value = machine.run()?;
    let keys = machine.run()?;
    let heap = &machine.heap;
    let sizes: HashMap<&str, u64> = heap.storages.iter().map(|s| (&*s.key, storage_element(&s.class).map_or(1, |e| e.bytes() as u64))).collect();
    let mut places: HashMap<&str, Range<usize>> = HashMap::new();
    let mut at = machine.position();
    for key in heap.sequence(&keys).ok_or("its list of storages is damaged")? {
        let key = &**key.text().ok_or("its list of storages is damaged")?;
        let cut = || format!("its storage {key} lies outside the file: it is truncated or damaged");
        let count = file.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(cut)?;
        let length = sizes.get(key).and_then(|size| size.checked_mul(count)).and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
        let end = (at + 8).checked_add(length).filter(|end| *end <= file.len()).ok_or_else(cut)?;
        places.insert(key, at + 8..end);
        at = end;
    }
    resolve(heap, &value, file, |key| places.get(key).cloned())
}

/// A pickle that torch did not write holds no tensors that can be found; but it may hold a call, which is worth naming.
fn plain_pickle(file: &[u8]) -> String {
    match Machine::new(file, file.len()).run() {
        Err(what) => what,
        Ok(_) => "it is a pickle that torch.save did not write".into(),
    }
}

fn resolve(heap: &Heap, root: &Value, file: &[u8], place: impl Fn(&str) -> Option<Range<usize>>) -> std::result::Result<Found, String> {
    let flat = flatten(heap, root)?;
    let mut tensors = HashMap::with_capacity(flat.tensors.len());
    for (name, at) in flat.tensors {
        let found = heap.tensors.get(at).and_then(|view| Some((view, heap.storages.get(view.storage)?)));
        let (view, storage) = found.ok_or_else(|| format!("tensor {name} has no storage"))?;
        let class = view.dtype.as_deref().unwrap_or(&storage.class);
        let element = storage_element(class).ok_or_else(|| format!("tensor {name} has the unknown type {class}"))?;
        let range = place(&storage.key).ok_or_else(|| format!("the numbers of tensor {name} (storage {}) are missing", storage.key))?;
        let own = storage_element(&storage.class).map_or(1, |element| element.bytes() as u64);
        if storage.count.saturating_mul(own) > range.len() as u64 {
            return Err(format!("the storage of tensor {name} claims {} numbers but has {} bytes", storage.count, range.len()));
        }
        let view = Strided::new(range, element.bytes(), view.offset, &view.size, &view.stride);
        let view = view.ok_or_else(|| format!("tensor {name} reaches outside its storage"))?;
        debug_assert!(view.range.end <= file.len());
        tensors.insert(name, (element, view));
    }
    Ok((tensors, flat.scalars))
}

/// Element type of a storage class or dtype, such as `torch.HalfStorage` or `torch.float16`; none for untyped storages.
fn storage_element(class: &str) -> Option<Element> {
    let name = class.strip_prefix("torch.cuda.").or(class.strip_prefix("torch."))?;
    Some(match name {
        "FloatStorage" | "float32" => Element::F32,
        "HalfStorage" | "float16" => Element::F16,
        "BFloat16Storage" | "bfloat16" => Element::BF16,
        "DoubleStorage" | "float64" => Element::F64,
        "LongStorage" | "int64" => Element::I64,
        "IntStorage" | "int32" => Element::I32,
        "ShortStorage" | "int16" => Element::I16,
        "CharStorage" | "int8" => Element::I8,
        "ByteStorage" | "uint8" => Element::U8,
        "BoolStorage" | "bool" => Element::Bool,
        "uint16" => Element::U16,
        "uint32" => Element::U32,
        "uint64" => Element::U64,
        "Float8_e4m3fnStorage" | "float8_e4m3fn" => Element::F8E4M3,
        "Float8_e5m2Storage" | "float8_e5m2" => Element::F8E5M2,
        _ => return None,
    })
}
