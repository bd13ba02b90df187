use crate::error::{ModelError, Result};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

/// The element type of drawn floats; torch draws each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
    /// IEEE half.
    F16,
    /// Brain float.
    Bf16,
}

impl Precision {
    /// An f32 value rounded to this type.
    pub(super) fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 | Self::F64 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }
}

impl TryFrom<DType> for Precision {
    type Error = ModelError;

    fn try_from(dtype: DType) -> Result<Self> {
        match dtype {
            DType::F32 => Ok(Self::F32),
            DType::F64 => Ok(Self::F64),
            DType::F16 => Ok(Self::F16),
            DType::BF16 => Ok(Self::Bf16),
            other => Err(ModelError::argument("dtype", "f32, f64, f16 or bf16", other.as_str())),
        }
    }
}

/// Drawn floats in their own type.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 32 bits.
    F32(Vec<f32>),
    /// 64 bits.
    F64(Vec<f64>),
    /// IEEE half.
    F16(Vec<f16>),
    /// Brain float.
    Bf16(Vec<bf16>),
}

impl Samples {
    /// Rounds f64 values once to the type.
    pub(super) fn rounded(values: Vec<f64>, precision: Precision) -> Self {
        // f16 and bf16 go through f32 as torch does: its arithmetic for them is f32.
        match precision {
            Precision::F32 => Self::F32(values.iter().map(|&value| value as f32).collect()),
            Precision::F64 => Self::F64(values),
            Precision::F16 => Self::F16(values.iter().map(|&value| f16::from_f32(value as f32)).collect()),
            Precision::Bf16 => Self::Bf16(values.iter().map(|&value| bf16::from_f32(value as f32)).collect()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values widened to f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Self::F64(values) => values.clone(),
            Self::F16(values) => values.iter().map(|value| value.to_f64()).collect(),
            Self::Bf16(values) => values.iter().map(|value| value.to_f64()).collect(),
        }
    }

    /// The raw bytes, little endian.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Bf16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// A tensor of this type and the given shape. Errors: a shape of another size.
    pub fn into_tensor(self, shape: &[usize], device: &Device) -> Result<Tensor> {
        Ok(match self {
            Self::F32(values) => Tensor::from_vec(values, shape, device)?,
            Self::F64(values) => Tensor::from_vec(values, shape, device)?,
            Self::F16(values) => Tensor::from_vec(values, shape, device)?,
            Self::Bf16(values) => Tensor::from_vec(values, shape, device)?,
        })
    }
}
