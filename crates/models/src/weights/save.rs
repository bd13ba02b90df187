use super::{tensor_bytes, Weights};
use crate::error::{ModelError, Result};
use candle_core::{DType, Device};
use serde_json::{json, Map};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes every tensor, rounded to `dtype` (F32, F16 or BF16), as a safetensors file; one tensor in memory at a time.
/// Errors: `ModelError::Io`, `ModelError::Argument` for another dtype. Source: https://github.com/huggingface/safetensors#format.
pub fn save(weights: &Weights, dtype: DType, path: &Path) -> Result<()> {
    let name = match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        other => return Err(ModelError::argument("dtype", "f32, f16 or bf16", format!("{other:?}"))),
    };
    let (mut header, mut end, names) = (Map::new(), 0, weights.names());
    for key in &names {
        let shape = weights.describe(key).map(|(_, shape)| shape).unwrap_or_default();
        let start = end;
        end += shape.iter().product::<usize>() * dtype.size_in_bytes();
        header.insert(key.clone(), json!({ "dtype": name, "shape": shape, "data_offsets": [start, end] }));
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Tensors then start at a multiple of eight bytes.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let io = |source| ModelError::Io { path: path.to_path_buf(), source };
    let mut file = BufWriter::new(File::create(path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(header.as_bytes()).map_err(io)?;
    for key in &names {
        let tensor = weights.read(key, &Device::Cpu)?.to_dtype(dtype)?;
        file.write_all(&tensor_bytes(&tensor)?).map_err(io)?;
    }
    file.flush().map_err(io)
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
        save(&made, DType::F32, &path).unwrap();
        let read = Weights::open(&path, &WeightsOptions::default()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.names(), ["conv.bias", "conv.weight"]);
        let values = |weights: &Weights| weights.read("conv.weight", &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&read), values(&made));
    }
}
