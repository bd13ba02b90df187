use crate::error::Result;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Values that one task converts.
const CHUNK: usize = 1 << 16;

/// The tensor in f32; half precisions on the CPU by all threads, with the processor's own conversions.
pub(super) fn widen(tensor: &Tensor) -> Result<Tensor> {
    if tensor.is_contiguous() {
        let (storage, layout) = tensor.storage_and_layout();
        let range = layout.start_offset()..layout.start_offset() + tensor.elem_count();
        let values = match &*storage {
            Storage::Cpu(CpuStorage::F16(values)) => values.get(range).map(spread),
            Storage::Cpu(CpuStorage::BF16(values)) => values.get(range).map(spread),
            _ => None,
        };
        if let Some(values) = values {
            return Ok(Tensor::from_vec(values, tensor.shape(), tensor.device())?);
        }
    }
    Ok(tensor.to_dtype(DType::F32)?)
}

fn spread<T: Sync>(values: &[T]) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = vec![0f32; values.len()];
    wide.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(wide, values)| values.convert_to_f32_slice(wide));
    wide
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn halves_widen_as_candle_widens_them() {
        let values = Tensor::randn(0f32, 3.0, (70, 1001), &Device::Cpu).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            let narrow = values.to_dtype(dtype).unwrap();
            for part in [narrow.clone(), narrow.narrow(0, 3, 9).unwrap(), narrow.t().unwrap()] {
                let expected: Vec<f32> = part.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let wide: Vec<f32> = widen(&part).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                assert_eq!(wide, expected);
            }
        }
    }
}
