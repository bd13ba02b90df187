//! One vector type per instruction set behind one trait, so that a kernel is written once.
//!
//! A kernel is a [`Task`] whose `run` is `#[inline(always)]`: it is inlined, with all helpers, into a function that has the instruction set enabled.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod scalar;

use crate::cpu::Level;

/// From this many bytes on a result is not in the caches any more when the next operation reads it.
const CACHED: usize = 16 << 20;

/// Whether rows of `columns` numbers at `out`, `len` in all, are better written past the caches: a plain store would read each line first.
pub(crate) fn streams(out: Shared<f32>, len: usize, columns: usize) -> bool {
    4 * len >= CACHED && columns.is_multiple_of(16) && (out.get() as usize).is_multiple_of(64)
}

/// A vector of f32 lanes.
///
/// # Safety
/// Every method needs the instruction set of the implementation, which [`dispatch`] guarantees; loads and stores need `LANES` (or `n`) valid elements.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    type V: Copy;
    const LANES: usize;
    /// Vectors across a full panel of packed weights: with six rows they fill the registers.
    const PANEL: usize;

    /// Runs the task with the instruction set enabled.
    unsafe fn enter<T: Task>(task: T) -> T::Output;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, x: Self::V);
    /// The first `n <= LANES` elements, zeros after them.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    unsafe fn store_part(p: *mut f32, x: Self::V, n: usize);
    /// IEEE half precision, widened.
    unsafe fn load_f16(p: *const u16) -> Self::V;
    /// Brain floats, widened.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    /// Past the caches where there is such a store; `p` is aligned to the vector. Needs [`Simd::fence`] before other threads read.
    unsafe fn stream(p: *mut f32, x: Self::V) {
        Self::store(p, x)
    }
    unsafe fn fence() {}
    /// A hint that the cache line will be read.
    unsafe fn prefetch(_p: *const f32) {}
    /// The same, for a line that is not needed soon: not into the nearest cache.
    unsafe fn prefetch_far(_p: *const f32) {}

    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c - a * b
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn abs(x: Self::V) -> Self::V;
    /// To the nearest integer.
    unsafe fn round(x: Self::V) -> Self::V;
    /// x * 2^n for integer n; zero below the normal numbers.
    unsafe fn scale2(x: Self::V, n: Self::V) -> Self::V;
    /// x * 2^n for `t = 1.5 * 2^23 + n`, x near 1 and |n| <= 100.
    unsafe fn add_exponent(x: Self::V, t: Self::V) -> Self::V;
    /// `yes` where x >= 0, else `no`.
    unsafe fn where_positive(x: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Whether a > b in any lane.
    unsafe fn any_greater(a: Self::V, b: Self::V) -> bool;
    /// The sum of all lanes, in a fixed order.
    unsafe fn sum(x: Self::V) -> f32;
    /// The largest lane.
    unsafe fn highest(x: Self::V) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 16];
        Self::store(lanes.as_mut_ptr(), x);
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    /// 1 / x to about 23 bits; 0 for infinity.
    unsafe fn recip(x: Self::V) -> Self::V {
        Self::div(Self::splat(1.0), x)
    }
    /// What [`Simd::dot4`] expects to have been added to the signed bytes of its left operand.
    const BYTE_BIAS: i32 = 0;
    /// Runs the task with the instructions of [`Simd::dot4`] enabled as well.
    unsafe fn enter_bytes<T: Task>(task: T) -> T::Output {
        Self::enter(task)
    }
    /// Per lane `c + a0 b0 + a1 b1 + a2 b2 + a3 b3`: a and b hold four bytes per lane, c an i32. No operand byte is -128, so every sum is exact.
    unsafe fn dot4(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Per lane `c + a1 b1 + a0 b0`, as [`pairs::dot`] has it: a and b hold two brain floats per lane.
    unsafe fn dot2(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        pairs::lanes::<Self>([a, b, c], |[a, b, c]| pairs::dot(a, b, f32::from_bits(c)).to_bits())
    }
    /// Whether this CPU has an instruction for [`Simd::dot2`].
    fn has_pairs() -> bool {
        false
    }
    /// Runs the task with the instruction of [`Simd::dot2_native`] enabled as well.
    unsafe fn enter_pairs<T: Task>(task: T) -> T::Output {
        Self::enter(task)
    }
    /// [`Simd::dot2`] by the instruction for it.
    unsafe fn dot2_native(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        Self::dot2(a, b, c)
    }
    /// The lower and the upper brain float of each lane, widened.
    unsafe fn widen_pairs(x: Self::V) -> [Self::V; 2] {
        [pairs::lanes::<Self>([x; 3], |[x, ..]| x << 16), pairs::lanes::<Self>([x; 3], |[x, ..]| x & pairs::UPPER)]
    }
    /// Numbers rounded to brain floats, the lower and the upper one of each lane, as [`pairs::pair`] has them.
    unsafe fn round_pairs(lower: Self::V, upper: Self::V) -> Self::V {
        pairs::lanes::<Self>([lower, upper, upper], |[lower, upper, _]| pairs::pair(lower, upper))
    }
    /// [`Simd::round_pairs`] by the instruction for it, inside [`Simd::enter_pairs`].
    unsafe fn round_pairs_native(lower: Self::V, upper: Self::V) -> Self::V {
        Self::round_pairs(lower, upper)
    }
    /// Numbers rounded to brain floats one behind the other.
    unsafe fn store_bf16(p: *mut u16, x: Self::V) {
        let mut bits = [0u32; 16];
        Self::store(bits.as_mut_ptr().cast(), x);
        for (i, bits) in bits.iter().enumerate().take(Self::LANES) {
            *p.add(i) = (pairs::rounded(*bits) >> 16) as u16;
        }
    }
    /// Lanes that hold an i32, as f32.
    unsafe fn from_i32(x: Self::V) -> Self::V;
    /// Of the four signed bytes of each lane the one of this number, as f32.
    unsafe fn widen_byte(x: Self::V, number: usize) -> Self::V {
        Self::from_i32(pairs::lanes::<Self>([x; 3], |[x, ..]| ((x << (24 - 8 * number)) as i32 >> 24) as u32))
    }
    /// Whole numbers in -128..=255 as one byte each.
    unsafe fn store_bytes(p: *mut u8, x: Self::V);
    /// Transposes a LANES x LANES block: element (i, j) at `from + i * from_stride + j` goes to `to + j * to_stride + i`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                *to.add(j * to_stride + i) = *from.add(i * from_stride + j);
            }
        }
    }
    /// The same of a block of `rows` x `columns`, neither above LANES, each row times `factor`. Of each column `lanes` numbers are written, zeros where no row is.
    unsafe fn transpose_part(
        from: *const f32,
        from_stride: usize,
        (rows, columns): (usize, usize),
        factor: Self::V,
        to: *mut f32,
        to_stride: usize,
        lanes: usize,
    ) {
        let mut factors = [0f32; 16];
        Self::store(factors.as_mut_ptr(), factor);
        for j in 0..columns {
            for i in 0..lanes {
                *to.add(j * to_stride + i) = if i < rows { *from.add(i * from_stride + j) * factors[j] } else { 0.0 };
            }
        }
    }
}

/// A kernel, written for any instruction set.
pub(crate) trait Task {
    type Output;

    /// # Safety
    /// Needs the instruction set of `S`. Implementations are `#[inline(always)]`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Runs the task with a level's instruction set; `Reference` counts as `Scalar`.
#[inline]
pub(crate) fn dispatch<T: Task>(level: Level, task: T) -> T::Output {
    // SAFETY: a level other than Scalar is only in force where `Level::available` found it.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Avx512::enter(task),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::enter(task),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::enter(task),
            _ => scalar::Scalar::enter(task),
        }
    }
}

/// (lanes, vectors per panel) of a level.
pub(crate) fn geometry(level: Level) -> (usize, usize) {
    struct Geometry;
    impl Task for Geometry {
        type Output = (usize, usize);
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> (usize, usize) {
            (S::LANES, S::PANEL)
        }
    }
    dispatch(level, Geometry)
}

/// A pointer for tasks that write disjoint parts.
pub(crate) struct Shared<T>(*mut T);
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: whoever makes one promises disjoint writes.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(p: *mut T) -> Self {
        Self(p)
    }

    pub fn get(self) -> *mut T {
        self.0
    }
}
