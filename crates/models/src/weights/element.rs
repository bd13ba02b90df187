use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use half::f16;

/// Element type of a tensor in a safetensors file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Element {
    /// The type named in a safetensors header, `None` when it is not known.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "F8_E4M3" => Self::F8E4M3,
            "F8_E5M2" => Self::F8E5M2,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U64" => Self::U64,
            "U32" => Self::U32,
            "U16" => Self::U16,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            _ => return None,
        })
    }

    /// The name in a safetensors header; the inverse of `parse`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The short name that users see: `f16`, `bf16`, `f8e4m3`, ...
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether values of this type can be weights.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// Decodes little-endian `bytes` of this type into a tensor: f16 and bf16 stay as they are, fp8 becomes f16 and f64 becomes f32 (both
    /// hold every value of it that matters to a model), integers become i64.
    pub fn decode(self, bytes: &[u8], shape: &[usize], device: &Device) -> Result<Tensor> {
        let tensor = match self {
            Self::F32 => Tensor::from_raw_buffer(bytes, DType::F32, shape, device)?,
            Self::F16 => Tensor::from_raw_buffer(bytes, DType::F16, shape, device)?,
            Self::BF16 => Tensor::from_raw_buffer(bytes, DType::BF16, shape, device)?,
            Self::F64 => collect(bytes, shape, device, |b: [u8; 8]| f64::from_le_bytes(b) as f32)?,
            Self::F8E4M3 => collect(bytes, shape, device, |[b]: [u8; 1]| f16::from_f32(f8e4m3_to_f32(b)))?,
            Self::F8E5M2 => collect(bytes, shape, device, |[b]: [u8; 1]| f16::from_bits(u16::from(b) << 8))?,
            Self::I64 => collect(bytes, shape, device, i64::from_le_bytes)?,
            Self::U64 => collect(bytes, shape, device, |b| u64::from_le_bytes(b) as i64)?,
            Self::I32 => collect(bytes, shape, device, |b| i64::from(i32::from_le_bytes(b)))?,
            Self::U32 => collect(bytes, shape, device, |b| i64::from(u32::from_le_bytes(b)))?,
            Self::I16 => collect(bytes, shape, device, |b| i64::from(i16::from_le_bytes(b)))?,
            Self::U16 => collect(bytes, shape, device, |b| i64::from(u16::from_le_bytes(b)))?,
            Self::I8 => collect(bytes, shape, device, |[b]: [u8; 1]| i64::from(b as i8))?,
            Self::U8 | Self::Bool => collect(bytes, shape, device, |[b]: [u8; 1]| i64::from(b))?,
        };
        Ok(tensor)
    }
}

fn collect<const N: usize, T: candle_core::WithDType>(
    bytes: &[u8],
    shape: &[usize],
    device: &Device,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Tensor> {
    let values: Vec<T> = bytes.as_chunks::<N>().0.iter().map(|chunk| decode(*chunk)).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// One e4m3fn value: 4 exponent bits with bias 7, 3 mantissa bits, no infinities, NaN at 0x7f. Source: arXiv:2209.05433.
fn f8e4m3_to_f32(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(byte >> 3 & 0xf);
    let mantissa = f32::from(byte & 7) / 8.0;
    if byte & 0x7f == 0x7f {
        return f32::NAN;
    }
    let magnitude = if exponent == 0 { mantissa * 2f32.powi(-6) } else { (1.0 + mantissa) * 2f32.powi(exponent - 7) };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn fp8_values_are_upcast_exactly() {
        let cases = [(0x00, 0.0), (0x38, 1.0), (0xb8, -1.0), (0x7e, 448.0), (0x01, 2f32.powi(-9)), (0x08, 2f32.powi(-6))];
        for (byte, value) in cases {
            assert_eq!(f8e4m3_to_f32(byte), value);
        }
        let wide = Element::F8E5M2.decode(&[0x3c, 0xbc, 0x7b], &[3], &Device::Cpu).unwrap();
        assert_eq!(wide.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap(), [1.0, -1.0, 57344.0]);
    }

    #[test]
    fn doubles_and_integers_are_read() {
        let double = Element::F64.decode(&1.5f64.to_le_bytes(), &[1], &Device::Cpu).unwrap();
        assert_eq!(double.to_vec1::<f32>().unwrap(), [1.5]);
        let int = Element::I16.decode(&(-3i16).to_le_bytes(), &[1], &Device::Cpu).unwrap();
        assert_eq!(int.to_vec1::<i64>().unwrap(), [-3]);
    }
}
