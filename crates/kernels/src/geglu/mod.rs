//! The gated feed-forward's first half.

use crate::argument::expect;
use crate::linear::{check_bias, cpu};
use crate::{Epilogue, Linear, Storage, Weight};
use candle_core::{Result, Tensor, D};
use std::sync::Arc;

/// GEGLU: `a * gelu_erf(b)` with `[a, b] = x W^T + c`; the wide intermediate is never stored on the CPU.
/// Source: diffusers activations.py `GEGLU`; arXiv:2002.05202 section 2.
#[derive(Clone)]
pub struct Geglu {
    inner: usize,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Plain(Linear),
    Cpu { body: Arc<cpu::Body>, in_features: usize },
}

impl Geglu {
    /// Packs a weight `(2 * inner, in)`, values first and gates after them, and an optional bias `(2 * inner)`; storage as in [`Linear::new`].
    pub fn new<'a>(weight: impl Into<Weight<'a>>, bias: Option<&Tensor>, storage: impl Into<Storage>) -> Result<Self> {
        let (weight, storage) = (weight.into(), storage.into());
        let dims = weight.dims();
        expect(dims.len() == 2 && dims[0].is_multiple_of(2), "shape (2 * inner, in)", "weight", dims)?;
        let (rows, in_features) = (dims[0], dims[1]);
        check_bias(bias, rows)?;
        let body = match crate::cpu::ours(&weight.device(), storage) {
            Some(level) => Body::Cpu { body: Arc::new(cpu::Body::new(level, weight, bias, storage, true)?), in_features },
            None => Body::Plain(Linear::new(weight, bias, storage)?),
        };
        Ok(Self { inner: rows / 2, body })
    }

    /// x (.., in) -> (.., inner).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _op = crate::profile::op("geglu", || {
            let width = x.dims().last().copied().unwrap_or(1);
            crate::profile::product(x.elem_count() / width.max(1), width, 2 * self.inner)
        });
        match &self.body {
            Body::Plain(linear) => {
                let wide = linear.forward(x)?;
                let value = wide.narrow(D::Minus1, 0, self.inner)?;
                value * wide.narrow(D::Minus1, self.inner, self.inner)?.gelu_erf()?
            }
            Body::Cpu { body, in_features } => {
                let fits = x.rank() >= 2 && x.dims().last() == Some(in_features);
                expect(fits, &format!("shape (.., {in_features})"), "x", x.dims())?;
                let mut shape = x.dims().to_vec();
                shape[x.rank() - 1] = self.inner;
                body.forward(x, &shape, &Epilogue::default())
            }
        }
    }

    /// Channels written.
    pub fn inner_features(&self) -> usize {
        self.inner
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Plain(linear) => linear.bytes(),
            Body::Cpu { body, .. } => body.bytes(),
        }
    }
}
