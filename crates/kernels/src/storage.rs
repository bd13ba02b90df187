use candle_core::DType;

/// How a layer keeps its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Rounded once to this float type (F32, F16 or BF16). Products are f32, or for BF16 those of bf16 where [`crate::cpu::multiplies_bf16`]; sums are always f32.
    Float(DType),
    /// A signed byte per weight with one scale per output channel; inputs are rounded to signed bytes with a scale per row of a linear layer and per image of a
    /// convolution, sums are exact integers. A product is off by one to two parts in a hundred (root mean square).
    Int8,
    /// As `Int8`, but where [`crate::cpu::multiplies_bf16`] a 3x3 convolution of a large image is Winograd's F(4x4, 3x3) with products of bf16, its weights being
    /// what the bytes stand for: about as far off, in two thirds of the time. Elsewhere the same as `Int8`.
    Fast,
}

impl Storage {
    /// What belongs to a model of this storage but is no large product is kept in this float type: beside bytes f16, or bf16 where `Fast` multiplies that.
    pub fn float(self) -> DType {
        match self {
            Self::Float(dtype) => dtype,
            Self::Fast if crate::cpu::multiplies_bf16() => DType::BF16,
            Self::Int8 | Self::Fast => DType::F16,
        }
    }
}

impl From<DType> for Storage {
    fn from(dtype: DType) -> Self {
        Self::Float(dtype)
    }
}
