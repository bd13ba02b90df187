//! Weights where they lie.

use crate::buffer::dense;
use candle_core::{bail, CpuStorage, DType, Device, Result, Storage, Tensor};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

/// A weight that a layer is made from: a tensor, or numbers of a file that is mapped into memory, which are packed without a copy on the way.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// Of any float dtype.
    Tensor(&'a Tensor),
    /// Little-endian F32, F16 or BF16 numbers in row-major order, at any address.
    Bytes { bytes: &'a [u8], dtype: DType, shape: &'a [usize] },
}

impl<'a> From<&'a Tensor> for Weight<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl<'a> Weight<'a> {
    pub(crate) fn dims(&self) -> &'a [usize] {
        match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Bytes { shape, .. } => shape,
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self {
            Self::Tensor(tensor) => tensor.device().clone(),
            Self::Bytes { .. } => Device::Cpu,
        }
    }

    /// As a tensor, copied if need be.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok((*tensor).clone()),
            Self::Bytes { bytes, dtype, shape } => Tensor::from_raw_buffer(bytes, *dtype, shape, &Device::Cpu),
        }
    }

    /// Calls `f` with the numbers in row-major order. Errors: bytes that are not as many as the shape says, or of another dtype.
    pub(crate) fn read<R>(&self, f: impl FnOnce(Numbers) -> Result<R>) -> Result<R> {
        match self {
            Self::Bytes { bytes, dtype, shape } => {
                let numbers = match dtype {
                    DType::F32 => Numbers::F32(bytes.as_chunks().0),
                    DType::F16 => Numbers::F16(bytes.as_chunks().0),
                    DType::BF16 => Numbers::Bf16(bytes.as_chunks().0),
                    other => bail!("Expected F32, F16 or BF16 for weight but received {other:?}"),
                };
                let count = shape.iter().product::<usize>();
                if bytes.len() != count * dtype.size_in_bytes() {
                    bail!("Expected {count} numbers for weight but received {} bytes", bytes.len())
                }
                f(numbers)
            }
            Self::Tensor(tensor) => {
                let kept = matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) && tensor.is_contiguous();
                let tensor = if kept { (*tensor).clone() } else { dense(tensor)? };
                let (storage, layout) = tensor.storage_and_layout();
                let range = layout.start_offset()..layout.start_offset() + tensor.elem_count();
                match &*storage {
                    Storage::Cpu(CpuStorage::F32(data)) => f(Numbers::F32(bytes_of(&data[range]))),
                    Storage::Cpu(CpuStorage::F16(data)) => f(Numbers::F16(bytes_of(&data[range]))),
                    Storage::Cpu(CpuStorage::BF16(data)) => f(Numbers::Bf16(bytes_of(&data[range]))),
                    _ => bail!("Expected floats on the CPU for weight"),
                }
            }
        }
    }
}

/// Numbers as the bytes that files have for them.
fn bytes_of<T, const N: usize>(numbers: &[T]) -> &[[u8; N]] {
    const { assert!(size_of::<T>() == N && cfg!(target_endian = "little")) };
    // SAFETY: plain numbers of N bytes each; bytes have no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

/// Numbers as files have them.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    Bf16(&'a [[u8; 2]]),
}

/// Numbers that are converted at once.
const STEP: usize = 128;

impl Numbers<'_> {
    /// Numbers from `at` on in f32.
    pub fn to_f32(self, at: usize, to: &mut [f32]) {
        match self {
            Self::F32(from) => copy(&from[at..], to, f32::from_le_bytes),
            Self::F16(from) => widen(&from[at..], to, |bits, to| bits.reinterpret_cast::<f16>().convert_to_f32_slice(to)),
            Self::Bf16(from) => widen(&from[at..], to, |bits, to| bits.reinterpret_cast::<bf16>().convert_to_f32_slice(to)),
        }
    }

    /// The bits of numbers from `at` on in f16, rounded unless they are such already.
    pub fn to_f16(self, at: usize, to: &mut [u16]) {
        match self {
            Self::F16(from) => copy(&from[at..], to, u16::from_le_bytes),
            _ => self.round(at, to, |from, to| to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(from)),
        }
    }

    /// The same in bf16.
    pub fn to_bf16(self, at: usize, to: &mut [u16]) {
        match self {
            Self::Bf16(from) => copy(&from[at..], to, u16::from_le_bytes),
            _ => self.round(at, to, |from, to| to.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(from)),
        }
    }

    fn round(self, at: usize, to: &mut [u16], convert: impl Fn(&[f32], &mut [u16])) {
        let mut wide = [0.0; STEP];
        for (i, to) in to.chunks_mut(STEP).enumerate() {
            let wide = &mut wide[..to.len()];
            self.to_f32(at + i * STEP, wide);
            convert(wide, to);
        }
    }
}

fn copy<T, const N: usize>(from: &[[u8; N]], to: &mut [T], parse: impl Fn([u8; N]) -> T) {
    to.iter_mut().zip(from).for_each(|(to, bytes)| *to = parse(*bytes));
}

fn widen(from: &[[u8; 2]], to: &mut [f32], convert: impl Fn(&[u16], &mut [f32])) {
    let mut bits = [0; STEP];
    for (from, to) in from.chunks(STEP).zip(to.chunks_mut(STEP)) {
        let bits = &mut bits[..to.len()];
        copy(from, bits, u16::from_le_bytes);
        convert(bits, to);
    }
}
