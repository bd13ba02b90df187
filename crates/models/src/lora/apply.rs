use super::delta::{change, Change};
use super::dora::{decomposed, DoraKind};
use super::group::LoraFile;
use super::index::Module;
use super::key::Part;
use super::widen::widen;
use crate::error::Result;
use candle_core::{DType, Tensor};
use nd_kernels::{Epilogue, Linear};
use std::sync::Arc;

/// One adapter's change of one layer.
pub(super) struct Patch {
    pub file: Arc<LoraFile>,
    /// Position of the group in the file.
    pub group: usize,
    pub module: Module,
    /// The user's weight; never 0.
    pub strength: f64,
}

/// `W + sum of strength * dW`, in f32 and the weight's own shape. Every change is that of the weight as it is in the checkpoint.
pub(super) fn patched_weight(weight: &Tensor, patches: &[Patch]) -> Result<Tensor> {
    let base = widen(weight)?.reshape((weight.dim(0)?, ()))?;
    let mut sum = base.clone();
    for Patch { file, group, module, strength } in patches {
        let group = &file.groups[*group];
        let device = weight.device();
        let Some(change) = change(file, group, module, device)? else { continue };
        let magnitude = match file.read(group, Part::DoraScale, device)? {
            Some(scale) => Some((scale, DoraKind::Outside)),
            None => file.read(group, Part::Magnitude, device)?.map(|magnitude| (magnitude, DoraKind::Inside)),
        };
        sum = match (magnitude, &change) {
            (Some((magnitude, kind)), change) => {
                let inputs = module.shape.get(1).copied().unwrap_or(1);
                (sum + decomposed(&base, change, &magnitude, (kind, *strength, inputs))?)?
            }
            (None, Change::Product { up, down }) => add_product(&sum, &(up * *strength)?, down)?,
            (None, change) => (sum + (change.dense(&base)? * *strength)?)?,
        };
    }
    Ok(sum.reshape(weight.shape())?)
}

/// `bias + sum of strength * diff_b`, in f32.
pub(super) fn patched_bias(bias: &Tensor, patches: &[Patch]) -> Result<Tensor> {
    let mut sum = bias.to_dtype(DType::F32)?;
    for Patch { file, group, strength, .. } in patches {
        if let Some(diff) = file.read(&file.groups[*group], Part::DiffB, bias.device())? {
            sum = (sum + (diff.reshape(bias.shape())? * *strength)?)?;
        }
    }
    Ok(sum)
}

/// `sum + up @ down` in one pass: the product as a linear layer whose residual is the sum.
fn add_product(sum: &Tensor, up: &Tensor, down: &Tensor) -> Result<Tensor> {
    let product = Linear::new(&down.t()?.contiguous()?, None, DType::F32)?;
    Ok(product.forward_with(up, &Epilogue { residual: Some(sum), ..Default::default() })?)
}
