//! `y = x W^T + b` with everything that follows it fused.

pub(crate) mod cpu;
mod int8;

pub(crate) use int8::rounded;

use crate::argument::expect;
use crate::{Epilogue, Storage, Weight};
use candle_core::{Result, Tensor};
use std::sync::Arc;

/// A linear layer or 1x1 convolution. Weights are packed once, in the storage dtype; products accumulate in f32. Clones share the weights.
#[derive(Clone)]
pub struct Linear {
    in_features: usize,
    out_features: usize,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// Numbers that bytes stand for.
    PlainInt8 {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Cpu(Arc<cpu::Body>),
}

impl Linear {
    /// Packs a weight `(out, in)` or `(out, in, 1, 1)` of any float dtype, a tensor's or a file's, and an optional bias `(out)`.
    ///
    /// `storage` is a [`Storage`] or F32, F16 or BF16: what the weight is rounded to and kept in. Errors: a weight or bias of another shape.
    pub fn new<'a>(weight: impl Into<Weight<'a>>, bias: Option<&Tensor>, storage: impl Into<Storage>) -> Result<Self> {
        let weight = weight.into();
        let dims = weight.dims();
        expect(matches!(dims, [_, _] | [_, _, 1, 1]), "shape (out, in) or (out, in, 1, 1)", "weight", dims)?;
        let (out_features, in_features) = (dims[0], dims[1]);
        check_bias(bias, out_features)?;
        let storage = storage.into();
        let plain = || weight.tensor()?.reshape((out_features, in_features));
        let body = match (crate::cpu::ours(&weight.device(), storage), storage) {
            (Some(level), _) => Body::Cpu(Arc::new(cpu::Body::new(level, weight, bias, storage, false)?)),
            (None, Storage::Float(float)) => Body::Plain { weight: plain()?.to_dtype(float)?, bias: bias.cloned() },
            (None, Storage::Int8 | Storage::Fast) => Body::PlainInt8 { weight: rounded(&plain()?)?, bias: bias.cloned() },
        };
        Ok(Self { in_features, out_features, body })
    }

    /// x (.., in) -> (.., out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, &Epilogue::default())
    }

    /// x (.., in) -> (.., out), with the epilogue. `per_sample` refers to the first dimension of x.
    pub fn forward_with(&self, x: &Tensor, epilogue: &Epilogue) -> Result<Tensor> {
        let fits = x.rank() >= 2 && x.dims().last() == Some(&self.in_features);
        expect(fits, &format!("shape (.., {})", self.in_features), "x", x.dims())?;
        let mut shape = x.dims().to_vec();
        shape[x.rank() - 1] = self.out_features;
        epilogue.check(&shape)?;
        let rows = x.elem_count() / self.in_features.max(1);
        let _op = crate::profile::op("linear", || crate::profile::product(rows, self.in_features, self.out_features));
        match &self.body {
            Body::Plain { weight, bias } => epilogue.reference(reference(x, weight, bias.as_ref())?),
            Body::PlainInt8 { weight, bias } => epilogue.reference(reference(&rounded(x)?, weight, bias.as_ref())?),
            Body::Cpu(body) => body.forward(x, &shape, epilogue),
        }
    }

    /// Channels read.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Channels written.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Plain { weight, .. } | Body::PlainInt8 { weight, .. } => weight.elem_count() * weight.dtype().size_in_bytes(),
            Body::Cpu(body) => body.bytes(),
        }
    }
}

/// Fails unless there is no bias or one of this length.
pub(crate) fn check_bias(bias: Option<&Tensor>, len: usize) -> Result<()> {
    match bias {
        Some(bias) => expect(bias.dims() == [len], &format!("shape [{len}]"), "bias", bias.dims()),
        None => Ok(()),
    }
}

/// In candle ops: x (.., in), weight (out, in), bias (out) -> (.., out), in x's dtype.
pub(crate) fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    let rows = x.elem_count() / inner.max(1);
    let mut shape = x.dims().to_vec();
    shape[x.rank() - 1] = out;
    let y = x.reshape((rows, inner))?.matmul(&weight.to_dtype(x.dtype())?.t()?)?.reshape(shape)?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.to_dtype(x.dtype())?),
        None => Ok(y),
    }
}
