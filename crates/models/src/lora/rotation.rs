use super::group::{Group, LoraFile};
use super::key::Part;
use crate::error::{ModelError, Result};
use candle_core::{DType, Device, Tensor};

/// Rotations of groups of output channels: OFT's one stage of blocks, or BOFT's stages, each over channels further apart.
/// Sources: LyCORIS functional/{diag_oft,boft}.py; arXiv:2306.07280, arXiv:2311.06243.
pub(super) struct Rotation {
    /// (blocks, b, b) for each stage.
    stages: Vec<Tensor>,
    /// A factor for each output channel, (out, 1).
    rescale: Option<Tensor>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Block,
    Butterfly,
}

impl Rotation {
    /// Reads the blocks of a group for a layer with `out` output channels; alpha bounds how far they turn.
    pub fn read(file: &LoraFile, group: &Group, out: usize, device: &Device) -> Result<Self> {
        let rescale = file.read(group, Part::Rescale, device)?.map(|factor| factor.reshape((out, 1))).transpose()?;
        // Old LyCORIS keeps the rotations themselves.
        if let Some(turns) = file.read(group, Part::OftDiag, device)? {
            return Ok(Self { stages: vec![turns], rescale, kind: Kind::Block });
        }
        let blocks = file.need(group, Part::OftBlocks, device)?;
        let bound = file.number(group, Part::Alpha)?.unwrap_or(0.0) * out as f64;
        let turns = rotations(&blocks, bound)?;
        match turns.rank() {
            4 => Ok(Self { stages: (0..turns.dim(0)?).map(|i| turns.get(i)).collect::<candle_core::Result<_>>()?, rescale, kind: Kind::Butterfly }),
            _ => Ok(Self { stages: vec![turns], rescale, kind: Kind::Block }),
        }
    }

    /// The change of a weight (out, n) at this strength. OFT's grows with the strength; BOFT's stages turn less each.
    pub fn change(&self, weight: &Tensor, strength: f64) -> Result<Tensor> {
        match self.kind {
            Kind::Block => {
                let Some(turns) = self.stages.first() else { return Ok(weight.zeros_like()?) };
                let (blocks, size, _) = turns.dims3()?;
                let cut = weight.reshape((blocks, size, ()))?;
                let turned = (turns.transpose(1, 2)?.contiguous()?.matmul(&cut)? - &cut)?.reshape(weight.shape())?;
                let scaled = match &self.rescale {
                    Some(factor) => (turned.broadcast_mul(factor)? + weight.broadcast_mul(&(factor - 1.0)?)?)?,
                    None => turned,
                };
                Ok((scaled * strength)?)
            }
            Kind::Butterfly => {
                let mut turned = weight.clone();
                for (stage, turns) in self.stages.iter().enumerate() {
                    turned = butterfly(&turned, turns, (stage, strength))?;
                }
                let turned = self.rescale.as_ref().map_or(Ok(turned.clone()), |factor| turned.broadcast_mul(factor))?;
                Ok((turned - weight)?)
            }
        }
    }
}

/// One stage of BOFT on a weight (out, n): blocks of channels that are `2^stage * b / 2` apart.
fn butterfly(weight: &Tensor, turns: &Tensor, (stage, strength): (usize, f64)) -> Result<Tensor> {
    let (blocks, size, _) = turns.dims3()?;
    let (out, wide) = weight.dims2()?;
    let apart = (1usize << stage) * (size / 2);
    let still = (Tensor::eye(size, DType::F32, weight.device())? * (1.0 - strength))?;
    let turns = (turns * strength)?.broadcast_add(&still)?;
    let mixed = weight.reshape((out / (2 * apart), 2, apart, wide))?.transpose(1, 2)?.contiguous()?.reshape((blocks, size, wide))?;
    let turned = turns.matmul(&mixed)?.reshape((out / (2 * apart), apart, 2, wide))?;
    Ok(turned.transpose(1, 2)?.contiguous()?.reshape((out, wide))?)
}

/// Cayley's rotations `(I + q)(I - q)^-1` of `q = blocks - blocks^T`, whose norm over all blocks is at most `bound` where that is not 0.
fn rotations(blocks: &Tensor, bound: f64) -> Result<Tensor> {
    let size = blocks.dim(candle_core::D::Minus1)?;
    let skew = (blocks - blocks.transpose(blocks.rank() - 2, blocks.rank() - 1)?)?.contiguous()?;
    let mut values: Vec<f64> = skew.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt() + 1e-8;
    if bound > 0.0 && norm > bound {
        values.iter_mut().for_each(|value| *value *= bound / norm);
    }
    let mut turned = Vec::with_capacity(values.len());
    for block in values.chunks_exact((size * size).max(1)) {
        turned.extend(cayley(block, size).ok_or_else(|| ModelError::Weights("Expected finite numbers for oft_blocks but received others".into()))?);
    }
    Ok(Tensor::from_vec(turned, blocks.shape(), &Device::Cpu)?.to_device(blocks.device())?)
}

/// `(I + q)(I - q)^-1` of one skew-symmetric q, by Gauss and Jordan on `(I - q)^T x^T = (I + q)^T`; `I - q` always has an inverse.
fn cayley(q: &[f64], size: usize) -> Option<Vec<f32>> {
    let unit = |row: usize, column: usize| f64::from(u8::from(row == column));
    let at = |row: usize, column: usize| q.get(column * size + row).copied().unwrap_or(0.0);
    let mut rows: Vec<Vec<f64>> = (0..size)
        .map(|row| {
            let (left, right) = ((0..size).map(|c| unit(row, c) - at(row, c)), (0..size).map(|c| unit(row, c) + at(row, c)));
            left.chain(right).collect()
        })
        .collect();
    for pivot in 0..size {
        let best = (pivot..size).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))?;
        rows.swap(pivot, best);
        let lead = rows[pivot][pivot];
        if !lead.is_finite() || lead == 0.0 {
            return None;
        }
        rows[pivot].iter_mut().for_each(|value| *value /= lead);
        let own = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = row[pivot];
            row.iter_mut().zip(&own).for_each(|(value, own)| *value -= factor * own);
        }
    }
    Some((0..size).flat_map(|row| (0..size).map(move |column| (row, column))).map(|(row, column)| rows[column][size + row] as f32).collect())
        .filter(|values: &Vec<f32>| values.iter().all(|value| value.is_finite()))
}
