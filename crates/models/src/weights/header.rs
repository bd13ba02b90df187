use super::element::Element;
use crate::error::{ModelError, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::HashMap;

/// Largest header that is read; the same bound as the safetensors library, so that a damaged length never allocates gigabytes.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const LENGTH_BYTES: usize = 8;

/// Where one tensor lies in a safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Element type in the file.
    pub element: Element,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl TensorInfo {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size in the file in bytes.
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }
}

/// The validated header of a safetensors file.
#[derive(Debug, Default)]
pub struct Header {
    /// Tensors by name.
    pub tensors: HashMap<String, TensorInfo>,
    /// The free text pairs of `__metadata__`.
    pub metadata: HashMap<String, String>,
}

/// Reads and validates the header of a safetensors file given as bytes; `origin` names the file in errors.
/// Errors: truncated file, oversized or non-UTF-8 header, repeated names, unknown element type, and offsets that are reversed, outside the
/// file, overlapping, leave holes or do not match the shape. Source: https://github.com/huggingface/safetensors#format.
pub fn parse_header(bytes: &[u8], origin: &str) -> Result<Header> {
    let fail = |what: String| ModelError::Weights(format!("Expected a valid safetensors file but received {origin}: {what}"));
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(fail(format!("it is truncated to {} bytes", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(fail(format!("its header claims {length} bytes, more than {MAX_HEADER_BYTES}")));
    }
    let length = length as usize;
    let Some(text) = rest.get(..length) else {
        return Err(fail(format!("its header claims {length} bytes but the file holds {}, it is truncated", rest.len())));
    };
    let text = std::str::from_utf8(text).map_err(|e| fail(format!("its header is not UTF-8 ({e})")))?;
    let raw: RawHeader = serde_json::from_str(text).map_err(|e| fail(format!("its header is not valid ({e})")))?;
    let data_start = LENGTH_BYTES + length;
    let data_length = bytes.len() - data_start;
    let mut tensors = HashMap::with_capacity(raw.tensors.len());
    for (name, entry) in raw.tensors {
        let info = locate(&entry, data_start, data_length).map_err(|what| fail(format!("tensor {name} {what}")))?;
        tensors.insert(name, info);
    }
    check_layout(&tensors, data_start, bytes.len()).map_err(fail)?;
    Ok(Header { tensors, metadata: raw.metadata })
}

fn locate(entry: &RawTensor, data_start: usize, data_length: usize) -> std::result::Result<TensorInfo, String> {
    let element = Element::parse(&entry.dtype).ok_or_else(|| format!("has the unknown dtype {}", entry.dtype))?;
    let [start, end] = entry.data_offsets;
    if start > end || end > data_length as u64 {
        return Err(format!("lies at bytes {start} to {end} of {data_length}; the file is truncated or damaged"));
    }
    let count = entry.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let wanted = count.and_then(|n| n.checked_mul(element.bytes() as u64));
    if wanted != Some(end - start) {
        return Err(format!("has {} bytes, which does not fit {} {:?}", end - start, entry.dtype, entry.shape));
    }
    let shape = entry.shape.iter().map(|&d| d as usize).collect();
    Ok(TensorInfo { element, shape, start: data_start + start as usize, end: data_start + end as usize })
}

fn check_layout(tensors: &HashMap<String, TensorInfo>, data_start: usize, file_length: usize) -> std::result::Result<(), String> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(_, info)| (info.start, info.end));
    let mut position = data_start;
    for (name, info) in ordered {
        if info.start < position {
            return Err(format!("tensor {name} overlaps the one before it"));
        }
        if info.start > position {
            return Err(format!("{} bytes before tensor {name} belong to no tensor", info.start - position));
        }
        position = info.end;
    }
    if position != file_length {
        return Err(format!("{} bytes at its end belong to no tensor", file_length - position));
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: HashMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
        let mut header = RawHeader { tensors: Vec::new(), metadata: HashMap::new() };
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name {name} appears twice")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}
