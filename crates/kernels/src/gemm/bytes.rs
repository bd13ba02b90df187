//! Products of bytes: weights with one scale per column, rows with a scale of their own, exact integer sums. A lane of the f32 product holds four bytes
//! here, so the driver, the panels and the row pointers are the same; only the tile differs.

use super::pack::{Data, Matrix, Packed};
use super::rounded::Images;
use super::tile::Lane;
use crate::buffer::Buffer;
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::cell::RefCell;

/// Bytes per lane.
const QUAD: usize = 4;
/// The largest magnitude of a byte: symmetric, so that every product of two and the sum of two such fit into 16 bits.
const LARGEST: f32 = 127.0;
/// Maxima below this count as zero: their reciprocals would overflow.
const TINY: f32 = 1e-30;

/// What belongs to a packed matrix of bytes, by packed column.
pub(crate) struct Columns {
    /// What a unit of the column's bytes stands for.
    pub scales: Buffer<f32>,
    /// Bits of the i32 that sums start from: minus the bias of the left bytes times the column's sum.
    pub start: Buffer<f32>,
}

/// The scale of numbers with this largest magnitude, and its reciprocal.
fn scale(largest: f32) -> (f32, f32) {
    if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / LARGEST, LARGEST / largest)
    }
}

/// Rounds a matrix to bytes and packs it.
pub(super) fn pack(level: Level, matrix: &Matrix) -> Packed {
    let level = crate::cpu::byte_level(level);
    let &Matrix { numbers, sets, channels, n, gated } = matrix;
    let (columns, quads) = (if gated { 2 * n } else { n }, channels.div_ceil(QUAD));
    let mut factors = vec![(0.0, 0); columns];
    let mut bytes = Buffer::<u32>::zeroed(columns * sets * quads);
    let (to, rounded) = (Shared::new(factors.as_mut_ptr()), Shared::new(bytes.as_mut_ptr()));
    pool::run(if crate::dry::is_on() { 0 } else { columns }, |column| {
        WIDE.with_borrow_mut(|wide| {
            let wide = wide.at_least(sets * channels);
            numbers.to_f32(column * sets * channels, wide);
            // SAFETY: each task writes its own column, whose sets take whole quads.
            unsafe {
                let to_bytes = rounded.get().add(column * sets * quads).cast();
                *to.get().add(column) = dispatch(level, RoundColumn { from: wide, sets, to: to_bytes, stride: quads * QUAD });
            }
        })
    });
    let mut packed = Packed::empty(level, (sets, quads), n, gated);
    let rows = packed.rows(|set, quad| set * quads + quad);
    packed.data = Data::Quads(packed.lay(&rows, |part, to| part.each(to, |at, to| to.copy_from_slice(&bytes[at..][..to.len()]))));
    let mut of_columns = Columns { scales: Buffer::zeroed(packed.columns()), start: Buffer::zeroed(packed.columns()) };
    let bias = byte_bias(level);
    packed.each_column(|at, column| {
        let (scale, sum) = factors[column];
        of_columns.scales[at] = scale;
        of_columns.start[at] = f32::from_bits((-bias * sum) as u32);
    });
    packed.columns_of_bytes = Some(of_columns);
    packed
}

thread_local! {
    static WIDE: RefCell<Buffer<f32>> = RefCell::default();
}

/// A column of weights, by channel and within it by set, as bytes by set; gives what a unit of them stands for, and their sum.
struct RoundColumn<'a> {
    from: &'a [f32],
    sets: usize,
    to: *mut i8,
    /// Bytes from one set to the next.
    stride: usize,
}

impl Task for RoundColumn<'_> {
    type Output = (f32, i32);

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (f32, i32) {
        let (scale, inverse) = scale(Extent(self.from).run::<S>().0);
        let mut sum = 0;
        for set in 0..self.sets {
            let channels = self.from.iter().skip(set).step_by(self.sets);
            for (k, x) in channels.enumerate() {
                let byte = (x * inverse).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
                *self.to.add(set * self.stride + k) = byte;
                sum += i32::from(byte);
            }
        }
        (scale, sum)
    }
}

fn byte_bias(level: Level) -> i32 {
    struct Bias;
    impl Task for Bias {
        type Output = i32;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> i32 {
            S::BYTE_BIAS
        }
    }
    dispatch(level, Bias)
}

/// Four bytes that stand for zero in a left operand.
pub(crate) fn zero_quad(level: Level) -> f32 {
    f32::from_bits(u32::from_le_bytes([byte_bias(level) as u8; QUAD]))
}

/// Rounds pixels, those of each of `samples` images by their largest magnitude: taps mix them. Each of the product's rows gets the scale of its sample.
pub(super) fn round(level: Level, images: &Images, samples: usize, scales: &mut [f32]) {
    let &Images { sources, count, to, stride, .. } = images;
    if let (&[(data, width)], true) = (sources, samples == count) {
        let scales = Shared::new(scales.as_mut_ptr());
        return images.each_part(|first, count| {
            // SAFETY: tasks write disjoint rows.
            let (to, scales) = unsafe { (to.get().add(first * stride), scales.get().add(first)) };
            dispatch(level, RoundRows { from: &data[first * width..][..count * width], width, to, stride, scales })
        });
    }
    let own = count / samples.max(1);
    let mut factors = vec![(0.0, 0.0); samples];
    let into = Shared::new(factors.as_mut_ptr());
    pool::run(samples, |i| {
        let extent = |(data, width): &(&[f32], usize)| dispatch(level, Extent(&data[i * own * width..][..own * width]));
        let (largest, nothing) = sources.iter().map(extent).fold((0f32, 0f32), |a, b| (a.0.max(b.0), a.1 + b.1));
        let (scale, inverse) = scale(largest);
        // SAFETY: each task writes its own sample.
        unsafe { *into.get().add(i) = (scale + nothing, inverse) };
    });
    images.each_part(|first, count| {
        for pixel in first..first + count {
            // SAFETY: tasks write disjoint pixels, whose rows are as long as all channels.
            let mut to = unsafe { to.get().add(pixel * stride) }.cast::<u8>();
            for (data, width) in sources {
                dispatch(level, RoundRow { from: &data[pixel * width..][..*width], inverse: factors[pixel / own].1, to });
                // SAFETY: as above.
                to = unsafe { to.add(*width) };
            }
        }
    });
    let own = scales.len() / samples.max(1);
    scales.iter_mut().enumerate().for_each(|(row, to)| *to = factors[row / own].0);
}

/// The largest magnitude, and zero: NaN instead where a number is not finite, which no byte could say.
struct Extent<'a>(&'a [f32]);

impl Task for Extent<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (f32, f32) {
        let (from, whole) = (self.0.as_ptr(), self.0.len() / S::LANES * S::LANES);
        let zero = S::splat(0.0);
        let last = S::load_part(from.add(whole), self.0.len() - whole);
        let (mut high, mut low, mut nothing) = (S::max(last, zero), S::min(last, zero), S::mul(last, zero));
        for k in (0..whole).step_by(S::LANES) {
            let x = S::load(from.add(k));
            (high, low, nothing) = (S::max(x, high), S::min(x, low), S::fma(x, zero, nothing));
        }
        (S::highest(S::max(high, S::sub(zero, low))), S::sum(nothing))
    }
}

/// Numbers times `inverse` as bytes. Whatever lies between them and the end of the last lane meets weights of zero.
struct RoundRow<'a> {
    from: &'a [f32],
    inverse: f32,
    to: *mut u8,
}

impl Task for RoundRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (from, width) = (self.from.as_ptr(), self.from.len());
        let whole = width / S::LANES * S::LANES;
        let (inverse, bias) = (S::splat(self.inverse), S::splat(S::BYTE_BIAS as f32));
        let byte = |x: S::V| {
            let x = S::round(S::mul(x, inverse));
            S::add(S::min(S::splat(LARGEST), S::max(S::splat(-LARGEST), x)), bias)
        };
        for k in (0..whole).step_by(S::LANES) {
            S::store_bytes(self.to.add(k), byte(S::load(from.add(k))));
        }
        if whole < width {
            let mut last = [0; 16];
            S::store_bytes(last.as_mut_ptr(), byte(S::load_part(from.add(whole), width - whole)));
            std::ptr::copy_nonoverlapping(last.as_ptr(), self.to.add(whole), width - whole);
        }
    }
}

struct RoundRows<'a> {
    from: &'a [f32],
    width: usize,
    to: *mut f32,
    stride: usize,
    scales: *mut f32,
}

impl Task for RoundRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (i, row) in self.from.chunks_exact(self.width).enumerate() {
            let (largest, nothing) = Extent(row).run::<S>();
            let (scale, inverse) = scale(largest);
            *self.scales.add(i) = scale + nothing;
            RoundRow { from: row, inverse, to: self.to.add(i * self.stride).cast() }.run::<S>();
        }
    }
}

/// Four bytes, and an i32 in sums.
pub(super) struct Quad;

impl Lane for Quad {
    #[inline(always)]
    unsafe fn enter<S: Simd, T: Task>(task: T) -> T::Output {
        S::enter_bytes(task)
    }
    #[inline(always)]
    unsafe fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::dot4(a, b, sum)
    }
}
