use super::conditioning::Conditioning;
use crate::error::Result;
use candle_core::{DType, Tensor};

/// How many first samples of a batch all the others repeat, in order and to the bit, in each of these tensors (B, ...): the halves of guidance's batch,
/// which are told apart by their prompts, count once. B where nothing repeats, and where there are no numbers to compare, as in a dry run.
///
/// What reads such tensors alone needs these samples only. [`Conditioning::all`] gives them back their repetitions.
pub(crate) fn distinct<const N: usize>(tensors: [&Tensor; N]) -> Result<usize> {
    let batch = tensors[0].dim(0)?;
    if batch == 1 || nd_kernels::dry::is_on() || !tensors.iter().all(|tensor| tensor.device().is_cpu()) {
        return Ok(batch);
    }
    let rows = tensors.iter().map(|tensor| bits(tensor)).collect::<Result<Vec<_>>>()?;
    let repeats = |first: usize| rows.iter().all(|bits| bits[first * bits.len() / batch..] == bits[..(batch - first) * bits.len() / batch]);
    Ok((1..batch).find(|&first| batch.is_multiple_of(first) && repeats(first)).unwrap_or(batch))
}

fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}

impl Conditioning<'_> {
    /// x of the distinct samples as one of the whole batch, for what tells samples apart: prompts, adapters, perturbations. Itself if it is that already.
    pub fn all(&self, x: &Tensor) -> Result<Tensor> {
        match self.context.dim(0)? / x.dim(0)? {
            1 => Ok(x.clone()),
            times => Ok(Tensor::cat(&vec![x; times], 0)?),
        }
    }
}
