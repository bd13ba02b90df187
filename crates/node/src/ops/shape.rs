//! Joining, cutting and reordering.

use super::{reserve, unified};
use crate::error::{Failure, Outcome};
use candle_core::Tensor;

/// Joins along an existing dimension, in the dtype that all meet in.
pub fn cat(tensors: &[&Tensor], dim: i64) -> Outcome<Tensor> {
    let first = tensors.first().ok_or_else(|| Failure::expected("at least one tensor", "tensors", "none"))?;
    let axis = axis(dim, first.rank())?;
    for (i, other) in tensors.iter().enumerate() {
        let fits = other.rank() == first.rank() && first.dims().iter().zip(other.dims()).enumerate().all(|(d, (a, b))| d == axis || a == b);
        if !fits {
            let what = format!("a shape that equals {:?} outside dimension {axis}", first.dims());
            return Err(Failure::expected(what, &format!("tensors[{i}]"), format!("{:?}", other.dims())));
        }
    }
    let mut shape = first.dims().to_vec();
    shape[axis] = tensors.iter().map(|t| t.dims()[axis]).sum();
    let same = unified(tensors)?;
    reserve(&shape, same[0].dtype())?;
    Ok(Tensor::cat(&same, axis)?.contiguous()?)
}

/// Joins along a new dimension.
pub fn stack(tensors: &[&Tensor], dim: i64) -> Outcome<Tensor> {
    let first = tensors.first().ok_or_else(|| Failure::expected("at least one tensor", "tensors", "none"))?;
    let axis = axis(dim, first.rank() + 1)?;
    if let Some((i, other)) = tensors.iter().enumerate().find(|(_, t)| t.dims() != first.dims()) {
        return Err(Failure::expected(format!("the shape {:?}", first.dims()), &format!("tensors[{i}]"), format!("{:?}", other.dims())));
    }
    let raised = tensors.iter().map(|t| t.unsqueeze(axis)).collect::<candle_core::Result<Vec<_>>>()?;
    cat(&raised.iter().collect::<Vec<_>>(), axis as i64)
}

fn axis(dim: i64, rank: usize) -> Outcome<usize> {
    let at = if dim < 0 { dim + rank as i64 } else { dim };
    let axis = usize::try_from(at).ok().filter(|&axis| axis < rank);
    axis.ok_or_else(|| Failure::expected(format!("a dimension from -{rank} to {}", rank as i64 - 1), "dim", dim))
}

/// `length` entries of a dimension from `start` on; a view.
pub fn slice(a: &Tensor, dim: usize, start: usize, length: usize) -> Outcome<Tensor> {
    Ok(a.narrow(dim, start, length)?)
}

/// The same elements in another shape; a view where the layout allows it.
pub fn reshape(a: &Tensor, shape: &[usize]) -> Outcome<Tensor> {
    Ok(a.reshape(shape)?)
}

/// Dimensions in another order; a view.
pub fn permute(a: &Tensor, dims: &[usize]) -> Outcome<Tensor> {
    Ok(a.permute(dims)?)
}

/// Repeats dimensions of size 1; a view, but of no more than could be written out.
pub fn expand(a: &Tensor, shape: &[usize]) -> Outcome<Tensor> {
    let lead = shape.len().saturating_sub(a.rank());
    let fits = shape.len() >= a.rank() && a.dims().iter().zip(&shape[lead..]).all(|(&from, &to)| from == to || from == 1);
    if !fits {
        return Err(Failure::expected(format!("a shape that {:?} expands to", a.dims()), "shape", format!("{shape:?}")));
    }
    reserve(shape, a.dtype())?;
    Ok(a.broadcast_as(shape)?)
}

/// Tiles the tensor; `repeats` has at least as many entries as there are dimensions.
pub fn repeat(a: &Tensor, repeats: &[usize]) -> Outcome<Tensor> {
    let lead = repeats.len() - a.rank().min(repeats.len());
    let sizes = [vec![1; lead], a.dims().to_vec()].concat();
    let spread: Vec<usize> = repeats.iter().zip(&sizes).flat_map(|(&times, &size)| [times, size]).collect();
    let tiled: Vec<usize> = repeats.iter().zip(&sizes).map(|(&times, &size)| times.saturating_mul(size)).collect();
    let split: Vec<usize> = sizes.iter().flat_map(|&size| [1, size]).collect();
    reserve(&tiled, a.dtype())?;
    Ok(a.reshape(split)?.broadcast_as(spread)?.contiguous()?.reshape(tiled)?)
}

/// Repeats every entry of a dimension in place: a a b b.
pub fn repeat_interleave(a: &Tensor, repeats: usize, dim: usize) -> Outcome<Tensor> {
    let mut spread = a.dims().to_vec();
    spread.insert(dim + 1, repeats);
    let mut joined = a.dims().to_vec();
    joined[dim] = joined[dim].saturating_mul(repeats);
    reserve(&joined, a.dtype())?;
    Ok(a.unsqueeze(dim + 1)?.broadcast_as(spread)?.contiguous()?.reshape(joined)?)
}
