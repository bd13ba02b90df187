//! Weighted sums of equal tensors: what a sampler's step is.

mod cpu;

use crate::argument::{expect, expect_shape};
use candle_core::{DType, Result, Tensor};

/// `sum of factor * tensor`, accumulated in f64 and rounded once to the dtype of the first tensor.
///
/// Shapes: any, all equal. Errors: no terms, or different shapes.
pub fn linear_combination(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    expect(!terms.is_empty(), "at least one term", "terms", terms.len())?;
    let first = terms[0].1;
    for (_, x) in terms {
        expect_shape(x, first.dims(), "every term")?;
    }
    let plain = |x: &Tensor| x.dtype() == DType::F32 && x.is_contiguous() && x.device().is_cpu();
    if let (Some(level), true) = (crate::cpu::ours(first.device(), first.dtype()), terms.iter().all(|(_, x)| plain(x))) {
        return cpu::linear_combination(level, terms);
    }
    reference(terms)?.to_dtype(first.dtype())
}

/// In candle ops, in f64.
fn reference(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let mut sum = (terms[0].1.to_dtype(DType::F64)? * terms[0].0)?;
    for (factor, x) in &terms[1..] {
        sum = (sum + (x.to_dtype(DType::F64)? * *factor)?)?;
    }
    Ok(sum)
}
