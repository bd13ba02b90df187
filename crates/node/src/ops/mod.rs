//! Small tensor arithmetic on candle ops, with torch's rules for broadcasting and mixed dtypes.

mod arithmetic;
mod data;
mod reduction;
mod shape;

pub use arithmetic::{binary, clamp, linear_combination, scalar, unary};
pub use data::{equal, from_bytes, full, with_bytes};
pub use reduction::{argmax, reduce};
pub use shape::{cat, expand, permute, repeat, repeat_interleave, reshape, slice, stack};

use crate::error::{Failure, Outcome, OUT_OF_MEMORY};
use candle_core::{DType, Tensor};
use std::sync::OnceLock;

/// Whether a dtype holds whole numbers.
fn is_integer(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::U32 | DType::I64)
}

/// The dtype that two operands meet in.
fn promoted(a: DType, b: DType) -> DType {
    const ORDER: [DType; 7] = [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F16, DType::F32, DType::F64];
    match (a, b) {
        (DType::BF16, DType::F16) | (DType::F16, DType::BF16) => DType::F32,
        _ => {
            let rank = |dtype| ORDER.iter().position(|&other| other == dtype).unwrap_or(ORDER.len());
            if rank(a) >= rank(b) {
                a
            } else {
                b
            }
        }
    }
}

/// All tensors in the dtype that they meet in.
fn unified(tensors: &[&Tensor]) -> Outcome<Vec<Tensor>> {
    let dtype = tensors.iter().map(|t| t.dtype()).reduce(promoted).unwrap_or(DType::F32);
    Ok(tensors.iter().map(|t| t.to_dtype(dtype)).collect::<candle_core::Result<_>>()?)
}

/// Fails while that is still possible if a result of this shape cannot be allocated, or is larger than the machine's memory.
pub fn reserve(shape: &[usize], dtype: DType) -> Outcome<()> {
    let bytes = shape.iter().try_fold(dtype.size_in_bytes(), |product, &size| product.checked_mul(size));
    let fits = bytes.is_some_and(|bytes| bytes <= physical_memory() && Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    fits.then_some(()).ok_or_else(|| Failure::new(OUT_OF_MEMORY, format!("Expected a tensor that fits into memory but received shape {shape:?}")))
}

/// Bytes of memory in this machine; no bound where the system does not say (allocating more than there is succeeds on Linux, and kills the process later).
fn physical_memory() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kilobytes = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
        kilobytes.map_or(usize::MAX, |kilobytes| kilobytes.saturating_mul(1024))
    })
}
