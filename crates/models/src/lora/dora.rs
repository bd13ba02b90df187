use super::delta::Change;
use crate::error::Result;
use candle_core::Tensor;

/// Where a DoRA's weight by the user acts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DoraKind {
    /// On the finished change: `W + s (m (W + D) / |W + D| - W)`. Source: LyCORIS functional/general.py `weight_decompose`.
    Outside,
    /// On the low-rank part: `m (W + s D) / |W + s D|`. Source: peft tuners/lora/dora.py `DoraLinearLayer`.
    Inside,
}

/// The whole change that a DoRA makes to weight (out, n) with `inputs` input channels; `magnitude` has one value for each output row, or for each
/// input channel when its first dimension is 1. Source: arXiv:2402.09353 equation 5.
pub(super) fn decomposed(weight: &Tensor, change: &Change, magnitude: &Tensor, (kind, strength, inputs): (DoraKind, f64, usize)) -> Result<Tensor> {
    let inner = if kind == DoraKind::Inside { strength } else { 1.0 };
    let changed = (weight + (change.dense(weight)? * inner)?)?;
    let (out, wide) = changed.dims2()?;
    let count = magnitude.elem_count();
    let per_input = count == inputs && (count != out || magnitude.dims().first() == Some(&1) && out > 1);
    let merged = if per_input {
        let cube = changed.reshape((out, inputs, wide / inputs.max(1)))?;
        let norm = cube.sqr()?.sum_keepdim((0, 2))?.sqrt()?;
        cube.broadcast_mul(&ratio(&magnitude.reshape((1, inputs, 1))?, &norm)?)?.reshape((out, wide))?
    } else {
        let norm = changed.sqr()?.sum_keepdim(1)?.sqrt()?;
        changed.broadcast_mul(&ratio(&magnitude.reshape((out, 1))?, &norm)?)?
    };
    let delta = (merged - weight)?;
    Ok(if kind == DoraKind::Outside { (delta * strength)? } else { delta })
}

/// `m / (norm + eps)`, so that a row of zeros stays one.
fn ratio(magnitude: &Tensor, norm: &Tensor) -> Result<Tensor> {
    Ok((magnitude / (norm + f64::from(f32::EPSILON))?)?)
}
