//! Over dimensions. Floats are accumulated in f64 and rounded once.

use super::is_integer;
use crate::error::{Failure, Outcome};
use candle_core::{DType, Tensor};

/// `sum`, `mean`, `std` (with Bessel's correction), `min` or `max` over `dims`, which must be distinct and in range.
pub fn reduce(op: &str, a: &Tensor, dims: &[usize], keep_dim: bool) -> Outcome<Tensor> {
    let kept = match op {
        "min" | "max" => extreme(op, a, dims)?,
        "sum" if is_integer(a.dtype()) => a.to_dtype(DType::I64)?.sum_keepdim(dims)?,
        "sum" | "mean" | "std" => {
            let result = if is_integer(a.dtype()) { DType::F32 } else { a.dtype() };
            moment(op, &a.to_dtype(DType::F64)?, dims)?.to_dtype(result)?
        }
        other => return Err(Failure::expected("sum, mean, std, min or max", "op", format!("{other:?}"))),
    };
    if keep_dim {
        return Ok(kept);
    }
    let shape: Vec<usize> = kept.dims().iter().enumerate().filter(|(i, _)| !dims.contains(i)).map(|(_, &size)| size).collect();
    Ok(kept.reshape(shape)?)
}

fn moment(op: &str, a: &Tensor, dims: &[usize]) -> Outcome<Tensor> {
    let count = dims.iter().map(|&dim| a.dims()[dim]).product::<usize>() as f64;
    let sum = a.sum_keepdim(dims)?;
    if op == "sum" {
        return Ok(sum);
    }
    let mean = sum.affine(1. / count, 0.)?;
    if op == "mean" {
        return Ok(mean);
    }
    let squares = a.broadcast_sub(&mean)?.sqr()?.sum_keepdim(dims)?;
    Ok(squares.affine(1. / (count - 1.), 0.)?.sqrt()?)
}

fn extreme(op: &str, a: &Tensor, dims: &[usize]) -> Outcome<Tensor> {
    if dims.iter().any(|&dim| a.dims()[dim] == 0) {
        return Err(Failure::expected("at least one element", "this", format!("shape {:?}", a.dims())));
    }
    dims.iter().try_fold(a.clone(), |a, &dim| Ok(if op == "min" { a.min_keepdim(dim)? } else { a.max_keepdim(dim)? }))
}

/// Position of the greatest element along `dim`, as i64.
pub fn argmax(a: &Tensor, dim: usize) -> Outcome<Tensor> {
    if a.dims().get(dim).copied().unwrap_or(0) == 0 {
        return Err(Failure::expected("at least one element", "this", format!("shape {:?}", a.dims())));
    }
    Ok(a.contiguous()?.argmax(dim)?.to_dtype(DType::I64)?)
}
