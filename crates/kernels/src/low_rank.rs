//! Low-rank changes of weights.

use crate::argument::expect;
use crate::buffer::{to_vec, Buffer};
use crate::cpu::{self, Level};
use crate::simd::{dispatch, Simd, Task};
use crate::weight::Part;
use candle_core::{Result, Tensor};

/// Numbers of a row that lie together: those of all ranks stay in L1 for usual ranks while the rows of a panel follow each other.
const BLOCK: usize = Part::STRIDE;
/// Rows that are changed at once: with the vectors of a panel their sums fill the registers.
const ROWS: usize = 4;
/// Most vectors of a panel.
const VECTORS: usize = 4;

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
    pub(crate) fn add(&self, mut at: usize, mut to: &mut [f32]) {
        while !to.is_empty() {
            let (first, at_row) = (at / self.width, at % self.width);
            let count = to.len().min(self.width - at_row).min(BLOCK - at_row % BLOCK);
            let (part, rest) = to.split_at_mut(count);
            self.add_part(Part { first, rows: 1, at: at_row, count, width: self.width }, part);
            (at, to) = (at + count, rest);
        }
    }

    /// Adds the product's part, which lies in one block.
    pub(crate) fn add_part(&self, part: Part, to: &mut [f32]) {
        debug_assert!(part.at % BLOCK + part.count <= BLOCK);
        dispatch(self.level, Add { change: self, part, to })
    }
}

struct Add<'a> {
    change: &'a LowRank,
    part: Part,
    to: &'a mut [f32],
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { change: LowRank { rank, up, down, .. }, part: Part { first, rows, at, count, .. }, to } = self;
        let up = &up[first * rank..][..rows * rank];
        let down = down[at / BLOCK * rank * BLOCK..][..rank * BLOCK].as_ptr().add(at % BLOCK);
        let (whole, single) = up.split_at(rows / ROWS * ROWS * rank);
        let (to, rest) = to.split_at_mut(to.len().min(rows / ROWS * ROWS * BLOCK));
        for (up, to) in whole.chunks_exact(ROWS * rank).zip(to.chunks_mut(ROWS * BLOCK)) {
            add_rows::<S, ROWS>(up.as_ptr(), down, *rank, to.as_mut_ptr(), count);
        }
        for (up, to) in single.chunks_exact(*rank).zip(rest.chunks_mut(BLOCK)) {
            add_rows::<S, 1>(up.as_ptr(), down, *rank, to.as_mut_ptr(), count);
        }
    }
}

/// Adds `up (R, rank) @ down (rank, count)` to rows a block apart.
#[inline(always)]
unsafe fn add_rows<S: Simd, const R: usize>(up: *const f32, down: *const f32, rank: usize, to: *mut f32, count: usize) {
    let mut i = 0;
    while i + S::PANEL * S::LANES <= count {
        let mut sums = [[S::splat(0.0); VECTORS]; R];
        for r in 0..rank {
            let from = down.add(r * BLOCK + i);
            for row in 0..R {
                let factor = S::splat(*up.add(row * rank + r));
                for v in 0..S::PANEL {
                    sums[row][v] = S::fma(factor, S::load(from.add(v * S::LANES)), sums[row][v]);
                }
            }
        }
        for row in 0..R {
            for v in 0..S::PANEL {
                let to = to.add(row * BLOCK + i + v * S::LANES);
                S::store(to, S::add(sums[row][v], S::load(to)));
            }
        }
        i += S::PANEL * S::LANES;
    }
    while i < count {
        let n = S::LANES.min(count - i);
        for row in 0..R {
            let (to, mut sum) = (to.add(row * BLOCK + i), S::splat(0.0));
            for r in 0..rank {
                sum = S::fma(S::splat(*up.add(row * rank + r)), S::load_part(down.add(r * BLOCK + i), n), sum);
            }
            S::store_part(to, S::add(sum, S::load_part(to, n)), n);
        }
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
