//! Products of brain floats: both operands are rounded to them, two to a lane, and their products are summed in f32. The driver, the panels and the row pointers
//! are those of f32; only the tile differs. Where the CPU has no instruction for it the tile computes the same bits in software.

use super::pack::{Data, Matrix, Packed};
use super::rounded::Images;
use super::tile::Lane;
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::simd::{dispatch, Simd, Task};
use crate::weight::Part;
use std::cell::RefCell;

/// Two brain floats, and an f32 in sums; by the CPU's instruction or in software.
pub(crate) struct Pair<const NATIVE: bool>;

impl<const NATIVE: bool> Lane for Pair<NATIVE> {
    #[inline(always)]
    unsafe fn enter<S: Simd, T: Task>(task: T) -> T::Output {
        if NATIVE {
            S::enter_pairs(task)
        } else {
            S::enter(task)
        }
    }
    #[inline(always)]
    unsafe fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        if NATIVE {
            S::dot2_native(a, b, sum)
        } else {
            S::dot2(a, b, sum)
        }
    }
}

thread_local! {
    static BITS: RefCell<Buffer<u16>> = RefCell::default();
}

/// Packs a matrix, rounded to brain floats unless it holds such.
pub(super) fn pack(level: Level, matrix: &Matrix) -> Packed {
    let &Matrix { sets, channels, n, gated, .. } = matrix;
    let mut packed = Packed::empty(level, (sets, channels.div_ceil(2)), n, gated);
    let rows = packed.rows(|set, pair| pair * sets + set);
    packed.data = Data::Pairs(packed.lay(&rows, |part, to| BITS.with_borrow_mut(|bits| fill(matrix, part, to, bits))));
    packed
}

/// A part of the columns, whose lanes come by pair of channels and within a pair by set. The last of an odd number of channels is paired with zero.
fn fill(matrix: &Matrix, part: Part, to: &mut [u32], bits: &mut Buffer<u16>) {
    const PIECE: usize = Part::ROWS * Part::STRIDE;
    let &Matrix { numbers, sets, channels, .. } = matrix;
    let (first, end) = (part.at / sets, (part.at + part.count).div_ceil(sets));
    let (start, width) = (2 * first * sets, channels * sets);
    let len = width.min(2 * end * sets) - start;
    let bits = bits.at_least(len.div_ceil(Part::STRIDE) * PIECE);
    for (i, piece) in bits.chunks_mut(PIECE).enumerate() {
        let at = i * Part::STRIDE;
        numbers.part_bf16(Part { at: start + at, count: Part::STRIDE.min(len - at), width, ..part }, piece);
    }
    for (row, to) in to.chunks_mut(Part::STRIDE).enumerate().take(part.rows) {
        let number = |i: usize| if i < len { u32::from(bits[i / Part::STRIDE * PIECE + row * Part::STRIDE + i % Part::STRIDE]) } else { 0 };
        let mut lower = part.at % sets;
        for to in &mut to[..part.count] {
            *to = number(lower) | number(lower + sets) << 16;
            lower += 1;
            if lower.is_multiple_of(sets) {
                lower += sets;
            }
        }
    }
}

/// Rounds pixels. The last of an odd number of channels is paired with zero, since what meets a weight of zero must be finite.
pub(super) fn round(level: Level, images: &Images) {
    images.each_part(|first, count| dispatch(level, RoundPixels { images, first, count }))
}

struct RoundPixels<'a> {
    images: &'a Images<'a>,
    first: usize,
    count: usize,
}

impl Task for RoundPixels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let &Images { sources, channels, to, stride, .. } = self.images;
        for pixel in self.first..self.first + self.count {
            let mut to = to.get().add(pixel * stride).cast::<u16>();
            for (data, width) in sources {
                let from = data.as_ptr().add(pixel * width);
                for k in (0..*width).step_by(S::LANES) {
                    let n = S::LANES.min(width - k);
                    let x = if n == S::LANES { S::load(from.add(k)) } else { S::load_part(from.add(k), n) };
                    store_part::<S>(to.add(k), x, n);
                }
                to = to.add(*width);
            }
            if channels % 2 == 1 {
                *to = 0;
            }
        }
    }
}

/// The first `n` numbers as brain floats.
#[inline(always)]
pub(crate) unsafe fn store_part<S: Simd>(to: *mut u16, x: S::V, n: usize) {
    if n == S::LANES {
        return S::store_bf16(to, x);
    }
    let mut bits = [0; 16];
    S::store_bf16(bits.as_mut_ptr(), x);
    std::ptr::copy_nonoverlapping(bits.as_ptr(), to, n);
}
