//! The gated feed-forward's first half.

use crate::argument::expect;
use crate::{linear, Linear};
use candle_core::{DType, Result, Tensor, D};

/// GEGLU: `a * gelu_erf(b)` with `[a, b] = x W^T + c`; the wide intermediate is never stored on the CPU.
/// Source: diffusers activations.py `GEGLU`; arXiv:2002.05202 section 2.
pub struct Geglu {
    inner: usize,
    linear: Linear,
}

impl Geglu {
    /// Packs a weight `(2 * inner, in)`, values first and gates after them, and an optional bias `(2 * inner)`; storage as in [`Linear::new`].
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, storage: DType) -> Result<Self> {
        let even = weight.rank() == 2 && weight.dims()[0] % 2 == 0;
        expect(even, "shape (2 * inner, in)", "weight", weight.dims())?;
        linear::check_bias(bias, weight.dims()[0])?;
        Ok(Self { inner: weight.dims()[0] / 2, linear: Linear::new(weight, bias, storage)? })
    }

    /// x (.., in) -> (.., inner).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = self.linear.forward(x)?;
        let value = wide.narrow(D::Minus1, 0, self.inner)?;
        value * wide.narrow(D::Minus1, self.inner, self.inner)?.gelu_erf()?
    }

    /// Channels written.
    pub fn inner_features(&self) -> usize {
        self.inner
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        self.linear.bytes()
    }
}
