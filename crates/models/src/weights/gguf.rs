use super::map::{populate, release};
use super::{missing, Element, WeightSource};
use crate::error::{ModelError, Result};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT: &str = "general.alignment";
/// Shapes of tensors that were flattened so that their rows fill whole blocks. Source: city96/ComfyUI-GGUF tools/convert.py.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";
const MOST_DIMENSIONS: u32 = 8;
/// Arrays inside arrays that are skipped over.
const DEPTH: usize = 4;
/// Longest text and number list of the metadata that is kept.
const KEPT_ITEMS: u64 = 4096;

/// Whether a file begins as GGUF does.
pub(super) fn is_gguf(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

#[derive(Debug)]
struct Entry {
    dtype: GgmlDType,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A memory-mapped GGUF file; quantised tensors are described, and read, as f32.
/// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
pub struct GgufFile {
    origin: String,
    map: Mmap,
    tensors: HashMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl GgufFile {
    /// Reads the header of a mapped file. Errors: `ModelError::Weights` for another version, unknown types and damage.
    pub(super) fn new(map: Mmap, origin: String) -> Result<Self> {
        let fail = |what: String| ModelError::Weights(format!("Expected a valid GGUF file but received {origin}: {what}"));
        let (tensors, metadata) = parse(&map).map_err(fail)?;
        Ok(Self { origin, map, tensors, metadata })
    }

    fn entry(&self, name: &str) -> Result<(&Entry, &[u8])> {
        let entry = self.tensors.get(name).ok_or_else(|| missing(name, &self.origin))?;
        Ok((entry, self.map.get(entry.range.clone()).ok_or_else(|| missing(name, &self.origin))?))
    }
}

impl WeightSource for GgufFile {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.tensors.get(name).map(|entry| (plain(entry.dtype).unwrap_or(Element::F32), entry.shape.clone()))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let (entry, bytes) = self.entry(name)?;
        let tensor = match plain(entry.dtype) {
            Some(element) => element.decode(bytes, &entry.shape, device)?,
            None => {
                let storage = QStorage::from_data(Cow::Borrowed(&aligned(bytes)), &Device::Cpu, entry.dtype)?;
                // candle wants the last dimension in whole blocks, which flattened tensors have only as a whole.
                let flat = QTensor::new(storage, entry.shape.iter().product::<usize>())?.dequantize(&Device::Cpu)?;
                flat.reshape(entry.shape.as_slice())?.to_device(device)?
            }
        };
        self.release(name);
        Ok(tensor)
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let (entry, bytes) = self.entry(name)?;
        match plain(entry.dtype) {
            Some(_) => Ok(Cow::Borrowed(bytes)),
            None => super::tensor_bytes(&self.read(name, &Device::Cpu)?).map(Cow::Owned),
        }
    }

    fn view(&self, name: &str) -> Option<&[u8]> {
        let (entry, bytes) = self.entry(name).ok()?;
        plain(entry.dtype)?;
        populate(&self.map, entry.range.clone());
        Some(bytes)
    }

    fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            release(&self.map, entry.range.clone())
        }
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.metadata.clone()
    }

    fn stored(&self, name: &str) -> Option<(String, u64)> {
        let entry = self.tensors.get(name)?;
        let dtype = plain(entry.dtype).map_or_else(|| format!("{:?}", entry.dtype).to_lowercase(), Element::name);
        Some((dtype, entry.range.len() as u64))
    }
}

/// The same numbers at an address that is a multiple of 8, as candle's blocks want.
fn aligned(bytes: &[u8]) -> Cow<'_, [u8]> {
    if (bytes.as_ptr() as usize).is_multiple_of(8) {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(bytes.to_vec())
    }
}

/// The element type of a tensor that is not quantised.
fn plain(dtype: GgmlDType) -> Option<Element> {
    match dtype {
        GgmlDType::F32 => Some(Element::F32),
        GgmlDType::F16 => Some(Element::F16),
        GgmlDType::BF16 => Some(Element::BF16),
        _ => None,
    }
}

/// Types that candle can dequantise, by their number in ggml.h.
fn dtype(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

type Parsed = (HashMap<String, Entry>, BTreeMap<String, String>);

fn parse(file: &[u8]) -> std::result::Result<Parsed, String> {
    let mut reader = Reader { file, at: MAGIC.len() };
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("it has version {version}, not 2 or 3"));
    }
    let (tensor_count, pair_count) = (reader.u64()?, reader.u64()?);
    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = reader.text()?.to_owned();
        let kind = reader.u32()?;
        if let Some(value) = reader.value(kind, DEPTH)? {
            metadata.insert(key, value);
        }
    }
    let mut infos = Vec::new();
    for _ in 0..tensor_count {
        infos.push(reader.tensor()?);
    }
    let alignment = metadata.get(ALIGNMENT).and_then(|text| text.parse::<usize>().ok()).unwrap_or(32);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(format!("it has the alignment {alignment}"));
    }
    let data = reader.at.checked_next_multiple_of(alignment).ok_or_else(cut)?;
    let mut tensors = HashMap::with_capacity(infos.len());
    for (name, mut shape, number, offset) in infos {
        let dtype = dtype(number).ok_or_else(|| format!("tensor {name} has the type {number}, which cannot be read"))?;
        let range = place(&shape, dtype, data, offset).filter(|range| range.end <= file.len());
        let range = range.ok_or_else(|| format!("tensor {name} of shape {shape:?} lies outside the file: it is truncated or damaged"))?;
        if let Some(original) = metadata.get(&format!("{ORIGINAL_SHAPE}{name}")) {
            let original: Option<Vec<usize>> = original.split(' ').map(|size| size.parse().ok()).collect();
            let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            shape =
                original.filter(|sizes| product(sizes) == product(&shape)).ok_or_else(|| format!("tensor {name} has a damaged original shape"))?;
        }
        if tensors.insert(name.clone(), Entry { dtype, shape, range }).is_some() {
            return Err(format!("the name {name} appears twice"));
        }
    }
    metadata.retain(|key, _| !key.starts_with(ORIGINAL_SHAPE));
    Ok((tensors, metadata))
}

/// The bytes of a tensor; `None` if its size makes no sense.
fn place(shape: &[usize], dtype: GgmlDType, data: usize, offset: u64) -> Option<Range<usize>> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    if !count.is_multiple_of(dtype.block_size()) {
        return None;
    }
    let length = (count / dtype.block_size()).checked_mul(dtype.type_size())?;
    let start = data.checked_add(usize::try_from(offset).ok()?)?;
    Some(start..start.checked_add(length)?)
}

struct Reader<'f> {
    file: &'f [u8],
    at: usize,
}

impl<'f> Reader<'f> {
    fn take(&mut self, length: u64) -> std::result::Result<&'f [u8], String> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length)).ok_or_else(cut)?;
        let bytes = self.file.get(self.at..end).ok_or_else(cut)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> std::result::Result<[u8; N], String> {
        self.take(N as u64)?.try_into().map_err(|_| cut())
    }

    fn u32(&mut self) -> std::result::Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> std::result::Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> std::result::Result<&'f str, String> {
        let length = self.u64()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "a name in its header is not UTF-8".to_string())
    }

    /// A metadata value as text, `None` for what is not kept.
    fn value(&mut self, kind: u32, depth: usize) -> std::result::Result<Option<String>, String> {
        Ok(Some(match kind {
            0 => self.array::<1>()?[0].to_string(),
            1 => i8::from_le_bytes(self.array()?).to_string(),
            2 => u16::from_le_bytes(self.array()?).to_string(),
            3 => i16::from_le_bytes(self.array()?).to_string(),
            4 => self.u32()?.to_string(),
            5 => i32::from_le_bytes(self.array()?).to_string(),
            6 => f32::from_le_bytes(self.array()?).to_string(),
            7 => (self.array::<1>()?[0] != 0).to_string(),
            8 => return self.text().map(|text| (text.len() as u64 <= KEPT_ITEMS).then(|| text.to_string())),
            9 => return self.list(depth),
            10 => self.u64()?.to_string(),
            11 => i64::from_le_bytes(self.array()?).to_string(),
            12 => f64::from_le_bytes(self.array()?).to_string(),
            other => return Err(format!("its header has a value of the unknown type {other}")),
        }))
    }

    /// An array: short ones of numbers as text with spaces between, others skipped.
    fn list(&mut self, depth: usize) -> std::result::Result<Option<String>, String> {
        let (kind, count) = (self.u32()?, self.u64()?);
        if depth == 0 {
            return Err("its header nests arrays too deeply".into());
        }
        // The smallest value has one byte, so that a false count ends here.
        if count > (self.file.len() - self.at) as u64 {
            return Err(cut());
        }
        let mut kept = (kind < 8 && count <= KEPT_ITEMS / 8).then(Vec::new);
        for _ in 0..count {
            let item = self.value(kind, depth - 1)?;
            if let (Some(kept), Some(item)) = (&mut kept, item) {
                kept.push(item);
            }
        }
        Ok(kept.map(|items| items.join(" ")))
    }

    /// Name, shape (outermost first), type and offset of one tensor.
    fn tensor(&mut self) -> std::result::Result<(String, Vec<usize>, u32, u64), String> {
        let name = self.text()?.to_owned();
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("tensor {name} has {dimensions} dimensions"));
        }
        let sizes = (0..dimensions).map(|_| usize::try_from(self.u64()?).map_err(|_| cut()));
        let mut shape = sizes.collect::<std::result::Result<Vec<_>, _>>()?;
        shape.reverse();
        Ok((name, shape, self.u32()?, self.u64()?))
    }
}

fn cut() -> String {
    "its header ends in the middle: the file is truncated or damaged".into()
}
