//! Element by element.

use super::{is_integer, promoted, reserve, unified};
use crate::error::{Failure, Outcome};
use candle_core::{DType, Tensor};

/// `a op b` with broadcasting; dividing integers gives f32.
pub fn binary(op: &str, a: &Tensor, b: &Tensor) -> Outcome<Tensor> {
    let meet = promoted(a.dtype(), b.dtype());
    let meet = if op == "div" && is_integer(meet) { DType::F32 } else { meet };
    reserve(&broadcast_shape(a.dims(), b.dims())?, meet)?;
    let (a, b) = (a.to_dtype(meet)?, b.to_dtype(meet)?);
    Ok(match op {
        "add" => a.broadcast_add(&b)?,
        "sub" => a.broadcast_sub(&b)?,
        "mul" => a.broadcast_mul(&b)?,
        "div" => a.broadcast_div(&b)?,
        "maximum" => a.broadcast_maximum(&b)?,
        "minimum" => a.broadcast_minimum(&b)?,
        other => return Err(Failure::expected("a binary operation", "op", format!("{other:?}"))),
    })
}

/// `a op value`; integers stay integers when the value is a whole number that they can hold.
pub fn scalar(op: &str, a: &Tensor, value: f64) -> Outcome<Tensor> {
    let keeps = !is_integer(a.dtype()) || (op != "div" && op != "pow" && holds(a.dtype(), value));
    let a = if keeps { a.clone() } else { a.to_dtype(DType::F32)? };
    match op {
        "mul" if !is_integer(a.dtype()) => Ok(a.affine(value, 0.)?),
        "pow" => Ok(a.powf(value)?),
        _ => binary(op, &a, &Tensor::new(value, a.device())?.to_dtype(a.dtype())?),
    }
}

fn holds(dtype: DType, value: f64) -> bool {
    let max = match dtype {
        DType::U8 => f64::from(u8::MAX),
        DType::U32 => f64::from(u32::MAX),
        _ => 2f64.powi(53),
    };
    let min = if dtype == DType::I64 { -max } else { 0. };
    value.fract() == 0. && (min..=max).contains(&value)
}

/// One operation on every element; integers become f32 where the result is not whole.
pub fn unary(op: &str, a: &Tensor) -> Outcome<Tensor> {
    if is_integer(a.dtype()) {
        return match op {
            "round" => Ok(a.clone()),
            "abs" if a.dtype() != DType::I64 => Ok(a.clone()),
            "abs" => Ok(a.maximum(&unary("neg", a)?)?),
            "neg" => Ok(Tensor::zeros(a.shape(), DType::I64, a.device())?.sub(&a.to_dtype(DType::I64)?)?),
            _ => unary(op, &a.to_dtype(DType::F32)?),
        };
    }
    Ok(match op {
        "neg" => a.neg()?,
        "abs" => a.abs()?,
        "sqrt" => a.sqrt()?,
        "exp" => a.exp()?,
        "log" => a.log()?,
        "sin" => a.sin()?,
        "cos" => a.cos()?,
        "round" => round(a)?,
        other => return Err(Failure::expected("a unary operation", "op", format!("{other:?}"))),
    })
}

/// Nearest whole number, halves to even as in NumPy and torch; candle rounds halves away from zero.
fn round(a: &Tensor) -> Outcome<Tensor> {
    let mut values = a.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    values.iter_mut().for_each(|value| *value = value.round_ties_even());
    Ok(Tensor::from_vec(values, a.shape(), a.device())?.to_dtype(a.dtype())?)
}

/// Limits every element to `low..=high`.
pub fn clamp(a: &Tensor, low: f64, high: f64) -> Outcome<Tensor> {
    scalar("minimum", &scalar("maximum", a, low)?, high)
}

/// `sum of weight * tensor`, accumulated in f64 and rounded once; integers give f32.
pub fn linear_combination(weights: &[f64], tensors: &[&Tensor]) -> Outcome<Tensor> {
    let first = tensors.first().ok_or_else(|| Failure::expected("at least one tensor", "terms", "none"))?;
    if weights.len() != tensors.len() {
        return Err(Failure::expected(format!("{} weights", tensors.len()), "terms", weights.len()));
    }
    if let Some(other) = tensors.iter().find(|t| t.dims() != first.dims()) {
        return Err(Failure::expected(format!("tensors of one shape, {:?} as the first,", first.dims()), "terms", format!("{:?}", other.dims())));
    }
    let mut same = unified(tensors)?;
    if is_integer(same[0].dtype()) {
        same = same.iter().map(|t| t.to_dtype(DType::F32)).collect::<candle_core::Result<_>>()?;
    }
    let terms: Vec<(f64, &Tensor)> = weights.iter().copied().zip(&same).collect();
    // On the JavaScript thread, which must not wait for a pool that another generation keeps busy.
    Ok(nd_kernels::pool::in_place(|| nd_kernels::linear_combination(&terms))?)
}

fn broadcast_shape(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Failure::expected(format!("a shape that broadcasts with {a:?}"), "other", format!("{b:?}"))),
        })
        .collect()
}
