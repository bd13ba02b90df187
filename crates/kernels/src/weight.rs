//! Weights where they lie.

use crate::buffer::fill;
use crate::LowRank;
use candle_core::{bail, CpuStorage, DType, Device, Result, Storage, Tensor};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

/// A weight that a layer is made from: a tensor, or numbers of a file that is mapped into memory, which are packed without a copy on the way.
#[derive(Clone, Copy)]
pub struct Weight<'a> {
    source: Source<'a>,
    changes: &'a [LowRank],
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Tensor(&'a Tensor),
    Bytes { bytes: &'a [u8], dtype: DType, shape: &'a [usize] },
}

impl<'a> From<&'a Tensor> for Weight<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { source: Source::Tensor(tensor), changes: &[] }
    }
}

impl<'a> Weight<'a> {
    /// Little-endian F32, F16 or BF16 numbers in row-major order, at any address.
    pub fn bytes(bytes: &'a [u8], dtype: DType, shape: &'a [usize]) -> Self {
        Self { source: Source::Bytes { bytes, dtype, shape }, changes: &[] }
    }

    /// With these products added, seen as (out, n); they replace others. Only on the CPU.
    pub fn changed(self, changes: &'a [LowRank]) -> Self {
        Self { changes, ..self }
    }

    /// Its numbers in f32, converted by all threads; on another device than the CPU by candle.
    /// Errors: bytes that are not as many as the shape says, changes of another shape.
    pub fn to_f32(&self) -> Result<Tensor> {
        match self.source {
            Source::Tensor(tensor) if self.changes.is_empty() && (tensor.dtype() == DType::F32 || !tensor.device().is_cpu()) => {
                tensor.to_dtype(DType::F32)
            }
            _ => self.read(|numbers| fill(self.dims().into(), |at, to| numbers.to_f32(at, to))),
        }
    }

    pub(crate) fn dims(&self) -> &'a [usize] {
        match self.source {
            Source::Tensor(tensor) => tensor.dims(),
            Source::Bytes { shape, .. } => shape,
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self.source {
            Source::Tensor(tensor) => tensor.device().clone(),
            Source::Bytes { .. } => Device::Cpu,
        }
    }

    /// As a tensor, copied if need be.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        match self.source {
            _ if !self.changes.is_empty() => self.to_f32(),
            Source::Tensor(tensor) => Ok(tensor.clone()),
            Source::Bytes { bytes, dtype, shape } => Tensor::from_raw_buffer(bytes, dtype, shape, &Device::Cpu),
        }
    }

    /// Calls `f` with the numbers in row-major order. Errors: bytes that are not as many as the shape says, or of another dtype; changes of another shape.
    pub(crate) fn read<R>(&self, f: impl FnOnce(Numbers) -> Result<R>) -> Result<R> {
        if let Some(other) = self.changes.iter().find(|change| !change.fits(self.dims())) {
            bail!("Expected low-rank changes of shape {:?} for weight but received {:?}", self.dims(), other.shape())
        }
        let f = |kept| f(Numbers { kept, changes: self.changes });
        match self.source {
            Source::Bytes { bytes, dtype, shape } => {
                let numbers = match dtype {
                    DType::F32 => Kept::F32(bytes.as_chunks().0),
                    DType::F16 => Kept::F16(bytes.as_chunks().0),
                    DType::BF16 => Kept::Bf16(bytes.as_chunks().0),
                    other => bail!("Expected F32, F16 or BF16 for weight but received {other:?}"),
                };
                let count = shape.iter().product::<usize>();
                if bytes.len() != count * dtype.size_in_bytes() {
                    bail!("Expected {count} numbers for weight but received {} bytes", bytes.len())
                }
                f(numbers)
            }
            Source::Tensor(tensor) => {
                let kept = matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) && tensor.is_contiguous();
                let tensor = if kept { tensor.clone() } else { tensor.to_dtype(DType::F32)?.contiguous()? };
                let (storage, layout) = tensor.storage_and_layout();
                let range = layout.start_offset()..layout.start_offset() + tensor.elem_count();
                match &*storage {
                    Storage::Cpu(CpuStorage::F32(data)) => f(Kept::F32(bytes_of(&data[range]))),
                    Storage::Cpu(CpuStorage::F16(data)) => f(Kept::F16(bytes_of(&data[range]))),
                    Storage::Cpu(CpuStorage::BF16(data)) => f(Kept::Bf16(bytes_of(&data[range]))),
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
enum Kept<'a> {
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    Bf16(&'a [[u8; 2]]),
}

/// Numbers of a weight, and what is added to them.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    kept: Kept<'a>,
    changes: &'a [LowRank],
}

/// Numbers `at..at + count` of rows `first..first + rows`, of `width` numbers each.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub first: usize,
    pub rows: usize,
    pub at: usize,
    pub count: usize,
    pub width: usize,
}

impl Part {
    /// Most rows.
    pub const ROWS: usize = 16;
    /// Most numbers of a row, and the distance of the rows where a part is written.
    pub const STRIDE: usize = 128;

    /// Calls `f` with the place of each row's first number, and the row of `to`.
    pub fn each<T>(&self, to: &mut [T], mut f: impl FnMut(usize, &mut [T])) {
        for (i, to) in to.chunks_mut(Self::STRIDE).take(self.rows).enumerate() {
            f((self.first + i) * self.width + self.at, &mut to[..self.count])
        }
    }
}

impl Numbers<'_> {
    /// Numbers from `at` on in f32, through any rows.
    pub fn to_f32(self, at: usize, to: &mut [f32]) {
        self.kept.to_f32(at, to);
        self.changes.iter().for_each(|change| change.add(at, to));
    }

    /// A part in f32.
    pub fn part_f32(self, part: Part, to: &mut [f32]) {
        part.each(to, |at, to| self.kept.to_f32(at, to));
        self.changes.iter().for_each(|change| change.add_part(part, to));
    }

    /// The bits of a part in f16, rounded unless they are such already.
    pub fn part_f16(self, part: Part, to: &mut [u16]) {
        match self.kept {
            Kept::F16(from) if self.changes.is_empty() => part.each(to, |at, to| copy(&from[at..], to, u16::from_le_bytes)),
            _ => self.round(part, to, |from, to| to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(from)),
        }
    }

    /// The same in bf16.
    pub fn part_bf16(self, part: Part, to: &mut [u16]) {
        match self.kept {
            Kept::Bf16(from) if self.changes.is_empty() => part.each(to, |at, to| copy(&from[at..], to, u16::from_le_bytes)),
            _ => self.round(part, to, |from, to| to.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(from)),
        }
    }

    fn round(self, part: Part, to: &mut [u16], convert: impl Fn(&[f32], &mut [u16])) {
        let mut wide = [0.0; Part::ROWS * Part::STRIDE];
        self.part_f32(part, &mut wide);
        for (wide, to) in wide.chunks(Part::STRIDE).zip(to.chunks_mut(Part::STRIDE)).take(part.rows) {
            convert(&wide[..part.count], &mut to[..part.count])
        }
    }
}

/// Numbers that are converted at once.
const STEP: usize = 128;

impl Kept<'_> {
    /// Numbers from `at` on in f32.
    fn to_f32(self, at: usize, to: &mut [f32]) {
        match self {
            Self::F32(from) => copy(&from[at..], to, f32::from_le_bytes),
            Self::F16(from) => widen(&from[at..], to, |bits, to| bits.reinterpret_cast::<f16>().convert_to_f32_slice(to)),
            Self::Bf16(from) => widen(&from[at..], to, |bits, to| bits.reinterpret_cast::<bf16>().convert_to_f32_slice(to)),
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
