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
            if rank(a) >= rank(b) { a } else { b }
        }
    }
}

/// All tensors in the dtype that they meet in.
fn unified(tensors: &[&Tensor]) -> Outcome<Vec<Tensor>> {
    let dtype = tensors.iter().map(|t| t.dtype()).reduce(promoted).unwrap_or(DType::F32);
    Ok(tensors.iter().map(|t| t.to_dtype(dtype)).collect::<candle_core::Result<_>>()?)
}

/// Fails while that is still possible if a result of this shape cannot be allocated.
pub fn reserve(shape: &[usize], dtype: DType) -> Outcome<()> {
    let bytes = shape.iter().try_fold(dtype.size_in_bytes(), |product, &size| product.checked_mul(size));
    let fits = bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    fits.then_some(()).ok_or_else(|| Failure::new(OUT_OF_MEMORY, format!("Expected a tensor that fits into memory but received shape {shape:?}")))
}
