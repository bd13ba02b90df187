use crate::weights::{Element, Weights};
use candle_core::{DType, Tensor};
use nd_kernels::{LowRank, Weight};

/// What a layer is packed from.
pub(super) enum Found<'a> {
    Tensor(Tensor),
    InFile(InFile<'a>),
    /// With products to be added.
    Changed(Box<Self>, Vec<LowRank>),
}

/// Floats in a mapped file, whose pages are given back when the layer is made.
pub(super) struct InFile<'a> {
    weights: &'a Weights,
    key: String,
    bytes: &'a [u8],
    dtype: DType,
    shape: Vec<usize>,
}

impl<'a> Found<'a> {
    /// The tensor of a key, if it lies in a mapped file in a type that layers are packed from.
    pub fn in_file(weights: &'a Weights, key: &str) -> Option<Self> {
        let (element, shape) = weights.describe(key)?;
        let dtype = match element {
            Element::F32 => DType::F32,
            Element::F16 => DType::F16,
            Element::BF16 => DType::BF16,
            _ => return None,
        };
        let bytes = weights.view(key)?;
        Some(Self::InFile(InFile { weights, key: key.to_owned(), bytes, dtype, shape }))
    }

    /// The same with these products added.
    pub fn changed(self, products: Vec<LowRank>) -> Self {
        match products.is_empty() {
            true => self,
            false => Self::Changed(Box::new(self), products),
        }
    }
}

impl<'a> From<&'a Found<'_>> for Weight<'a> {
    fn from(found: &'a Found) -> Self {
        match found {
            Found::Tensor(tensor) => tensor.into(),
            Found::InFile(InFile { bytes, dtype, shape, .. }) => Self::bytes(bytes, *dtype, shape),
            Found::Changed(found, products) => Self::from(&**found).changed(products),
        }
    }
}

impl Drop for InFile<'_> {
    fn drop(&mut self) {
        self.weights.release(&self.key);
    }
}
