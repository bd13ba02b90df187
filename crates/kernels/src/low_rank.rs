//! Low-rank changes of weights.

use crate::argument::expect;
use crate::buffer::{to_vec, Buffer};
use crate::cpu::{self, Level};
use crate::simd::{dispatch, Simd, Task};
use candle_core::{Result, Tensor};

/// Numbers of a row that are changed at once: those of all ranks stay in L1 for usual ranks while the rows of a panel follow each other.
const BLOCK: usize = 128;
/// Vectors whose sums wait in registers.
const SUMS: usize = 8;

/// A product `up @ down` that is added to a weight's numbers while a layer is packed from them, see [`Weight::changed`](crate::Weight::changed); sums are f32.
pub struct LowRank {
    level: Level,
    rank: usize,
    /// Numbers of a row of the weight.
    width: usize,
    /// (rows, rank).
    up: Vec<f32>,
    /// `[block][rank][number]`, zeros after the last number of a row.
    down: Buffer<f32>,
}

impl LowRank {
    /// `factor * up @ down` for up (out, rank) and down (rank, n) of any float dtype. Errors: matrices that do not fit each other.
    pub fn new(up: &Tensor, down: &Tensor, factor: f32) -> Result<Self> {
        let ((_, rank), (inner, width)) = (up.dims2()?, down.dims2()?);
        expect(rank == inner, &format!("shape ({rank}, n)"), "down", down.dims())?;
        let mut up = to_vec(up)?;
        up.iter_mut().for_each(|x| *x *= factor);
        let mut blocks = Buffer::zeroed(width.div_ceil(BLOCK) * rank * BLOCK);
        for (r, row) in to_vec(down)?.chunks_exact(width.max(1)).enumerate() {
            for (block, part) in row.chunks(BLOCK).enumerate() {
                blocks[(block * rank + r) * BLOCK..][..part.len()].copy_from_slice(part);
            }
        }
        Ok(Self { level: cpu::level(), rank, width, up, down: blocks })
    }

    /// Rows and numbers of a row of the weights that it changes.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.up.len() / self.rank.max(1), self.width)
    }

    /// Whether it changes weights of this shape, whose first dimension are the rows.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        shape.split_first().is_some_and(|(rows, rest)| (*rows, rest.iter().product()) == self.shape())
    }

    /// Adds the product's numbers from `at` on, in row-major order.
    pub(crate) fn add(&self, at: usize, to: &mut [f32]) {
        dispatch(self.level, Add { change: self, at, to })
    }
}

struct Add<'a> {
    change: &'a LowRank,
    at: usize,
    to: &'a mut [f32],
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { change: LowRank { rank, width, up, down, .. }, mut at, mut to } = self;
        while !to.is_empty() {
            let (row, column) = (at / width, at % width);
            let skipped = column % BLOCK;
            let count = to.len().min(width - column).min(BLOCK - skipped);
            let (part, rest) = to.split_at_mut(count);
            let factors = &up[row * rank..][..*rank];
            let block = &down[column / BLOCK * rank * BLOCK..][..rank * BLOCK];
            add_block::<S>(factors, block.as_ptr().add(skipped), part);
            (at, to) = (at + count, rest);
        }
    }
}

/// Adds the sum of `factors[r] * block[r][..]`, at most a block, to `to`.
#[inline(always)]
unsafe fn add_block<S: Simd>(factors: &[f32], block: *const f32, to: &mut [f32]) {
    let (len, to) = (to.len(), to.as_mut_ptr());
    let mut i = 0;
    while i + SUMS * S::LANES <= len {
        let mut sums = [S::splat(0.0); SUMS];
        for (r, factor) in factors.iter().enumerate() {
            let (factor, from) = (S::splat(*factor), block.add(r * BLOCK + i));
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = S::fma(factor, S::load(from.add(v * S::LANES)), *sum);
            }
        }
        for (v, sum) in sums.into_iter().enumerate() {
            let to = to.add(i + v * S::LANES);
            S::store(to, S::add(sum, S::load(to)));
        }
        i += SUMS * S::LANES;
    }
    while i < len {
        let (n, to) = (S::LANES.min(len - i), to.add(i));
        let mut sum = S::splat(0.0);
        for (r, factor) in factors.iter().enumerate() {
            sum = S::fma(S::splat(*factor), S::load_part(block.add(r * BLOCK + i), n), sum);
        }
        S::store_part(to, S::add(sum, S::load_part(to, n)), n);
        i += n;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Linear, Weight};
    use candle_core::{DType, Device};

    /// Rows of one block and of several, whole and not, in every dtype and at every level.
    #[test]
    fn changed_weights_are_the_sum_of_weight_and_products() {
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            for (rows, rank, width) in [(3, 1, 5), (17, 4, 128), (20, 32, 301)] {
                let random = |shape: (usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
                let (weight, up, down) = (random((rows, width)), random((rows, rank)), random((rank, width)));
                for dtype in [DType::F32, DType::F16, DType::BF16] {
                    let weight = weight.to_dtype(dtype).unwrap();
                    let changes = cpu::with_level(level, || [0.5, -2.0].map(|factor| LowRank::new(&up, &down, factor).unwrap()));
                    let sum = Weight::from(&weight).changed(&changes).to_f32().unwrap();
                    let expected = (weight.to_dtype(DType::F32).unwrap() + (up.matmul(&down).unwrap() * -1.5).unwrap()).unwrap();
                    let far = (&sum - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                    // Sums of 64 products of numbers below 5, rounded to 24 bits each.
                    assert!(far < 5e-5, "{level:?} {rows}x{rank}x{width} {dtype:?}: {far}");
                    let x = random((2, width));
                    let packed =
                        |weight: Weight, storage| cpu::with_level(level, || Linear::new(weight, None, storage).unwrap().forward(&x).unwrap());
                    for storage in [DType::F32, DType::F16, DType::BF16] {
                        let (fused, dense) = (packed(Weight::from(&weight).changed(&changes), storage), packed((&sum).into(), storage));
                        assert_eq!(fused.to_vec2::<f32>().unwrap(), dense.to_vec2::<f32>().unwrap());
                    }
                }
            }
        }
    }

    #[test]
    fn changes_of_another_shape_are_refused() {
        let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(LowRank::new(&zeros((4, 2)), &zeros((3, 5)), 1.0).is_err());
        let change = [LowRank::new(&zeros((4, 2)), &zeros((2, 5)), 1.0).unwrap()];
        let weight = zeros((5, 4));
        let refused = Linear::new(Weight::from(&weight).changed(&change), None, DType::F32).err().unwrap().to_string();
        assert!(refused.starts_with("Expected low-rank changes of shape [5, 4] for weight but received (4, 5)"), "{refused}");
    }
}
