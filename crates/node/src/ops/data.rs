//! Numbers in and out.

use super::reserve;
use crate::error::{Failure, Outcome};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

/// A tensor from little-endian bytes of the type `source`, converted to `dtype`.
pub fn from_bytes(bytes: &[u8], source: &str, shape: &[usize], dtype: DType) -> Outcome<Tensor> {
    reserve(shape, dtype)?;
    let cpu = &Device::Cpu;
    let tensor = match source {
        "f32" => Tensor::from_vec(read::<f32, 4>(bytes, f32::from_le_bytes), shape, cpu),
        "f64" => Tensor::from_vec(read::<f64, 8>(bytes, f64::from_le_bytes), shape, cpu),
        "i64" => Tensor::from_vec(read::<i64, 8>(bytes, i64::from_le_bytes), shape, cpu),
        "u32" => Tensor::from_vec(read::<u32, 4>(bytes, u32::from_le_bytes), shape, cpu),
        "u8" => Tensor::from_vec(bytes.to_vec(), shape, cpu),
        other => return Err(Failure::expected("f32, f64, i64, u32 or u8", "source", format!("{other:?}"))),
    }?;
    Ok(tensor.to_dtype(dtype)?)
}

fn read<T, const N: usize>(bytes: &[u8], parse: fn([u8; N]) -> T) -> Vec<T> {
    let mut word = [0; N];
    let parse_one = |chunk: &[u8]| {
        word.copy_from_slice(chunk);
        parse(word)
    };
    bytes.chunks_exact(N).map(parse_one).collect()
}

/// One number everywhere.
pub fn full(shape: &[usize], value: f64, dtype: DType) -> Outcome<Tensor> {
    reserve(shape, dtype)?;
    let cpu = &Device::Cpu;
    Ok(match dtype {
        DType::F64 => Tensor::full(value, shape, cpu)?,
        DType::I64 => Tensor::full(value as i64, shape, cpu)?,
        DType::U32 => Tensor::full(value as u32, shape, cpu)?,
        DType::U8 => Tensor::full(value as u8, shape, cpu)?,
        _ if value == 0. => Tensor::zeros(shape, dtype, cpu)?,
        _ => Tensor::full(value as f32, shape, cpu)?.contiguous()?.to_dtype(dtype)?,
    })
}

/// Calls `f` with the elements as bytes in row-major order; f16 and bf16 come as f32.
pub fn with_bytes<R>(a: &Tensor, f: impl FnOnce(&[u8]) -> R) -> Outcome<R> {
    let a = if matches!(a.dtype(), DType::F16 | DType::BF16) { a.to_dtype(DType::F32)? } else { a.clone() };
    let a = a.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = a.storage_and_layout();
    let Storage::Cpu(cpu) = &*storage else {
        return Err(Failure::expected("a tensor on the CPU", "this", "another device"));
    };
    let start = layout.start_offset() * a.dtype().size_in_bytes();
    let bytes = match cpu {
        CpuStorage::U8(values) => values.as_slice(),
        CpuStorage::U32(values) => as_bytes(values),
        CpuStorage::I64(values) => as_bytes(values),
        CpuStorage::F32(values) => as_bytes(values),
        CpuStorage::F64(values) => as_bytes(values),
        _ => return Err(Failure::expected("a tensor of f32, f64, i64, u32 or u8", "this", format!("{:?}", a.dtype()))),
    };
    Ok(f(&bytes[start..start + a.elem_count() * a.dtype().size_in_bytes()]))
}

trait Plain: Copy {}
impl Plain for u32 {}
impl Plain for i64 {}
impl Plain for f32 {}
impl Plain for f64 {}

fn as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: a slice of plain numbers has no padding, any byte pattern is a valid u8, and the length is that of the slice in bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// Whether shape, dtype and every element are the same; NaN equals nothing.
pub fn equal(a: &Tensor, b: &Tensor) -> Outcome<bool> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Ok(false);
    }
    if a.elem_count() == 0 {
        return Ok(true);
    }
    Ok(a.eq(b)?.flatten_all()?.min(0)?.to_scalar::<u8>()? == 1)
}
