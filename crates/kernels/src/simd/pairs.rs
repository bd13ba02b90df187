//! Pairs of brain floats and their products in software, exactly as the instructions `vcvtne2ps2bf16` and `vdpbf16ps` have them: for CPUs without them, and for
//! tests of those with them.
//!
//! Source: Intel's Software Developer's Manual, VDPBF16PS: `c += a[1] * b[1]`, then `c += a[0] * b[0]`, each a fused multiply-add that rounds to the nearest, ties
//! to even; denormal operands count as zeros and denormal results become zeros, both of their sign. Only which NaN comes out of several is left open here.
//! VCVTNE2PS2BF16: denormal numbers become zeros of their sign, others are rounded to the nearest, ties to even.

use super::Simd;

/// The upper of the two brain floats of a lane, as bits of an f32.
pub(super) const UPPER: u32 = 0xffff_0000;

/// One lane of the instruction.
pub(crate) fn dot(a: u32, b: u32, c: f32) -> f32 {
    fma(a << 16, b << 16, fma(a & UPPER, b & UPPER, c))
}

/// `c + a * b` for brain floats a and b, as bits of an f32.
fn fma(a: u32, b: u32, c: f32) -> f32 {
    let [a, b, c] = [f32::from_bits(a), f32::from_bits(b), c].map(|x| f64::from(if x.is_subnormal() { 0f32.copysign(x) } else { x }));
    // The product is exact. The sum is rounded twice, without harm: 53 bits are more than twice 24 and two more.
    let sum = a * b + c;
    // What rounds to 24 bits below the smallest normal number.
    if sum.abs() < f64::from(f32::MIN_POSITIVE) * (1.0 - f64::from(f32::EPSILON) / 4.0) {
        0f32.copysign(sum as f32)
    } else {
        sum as f32
    }
}

/// The bits of an f32 rounded to the nearest brain float, ties to even, whose bits are the upper half; what the lower half holds means nothing.
pub(super) fn rounded(bits: u32) -> u32 {
    match f32::from_bits(bits).is_nan() {
        true => bits | 0x0040_0000,
        false => bits + 0x7fff + (bits >> 16 & 1),
    }
}

/// Two numbers rounded to brain floats in one lane.
pub(super) fn pair(lower: u32, upper: u32) -> u32 {
    let [lower, upper] = [lower, upper].map(|bits| rounded(if f32::from_bits(bits).is_subnormal() { bits & 1 << 31 } else { bits }));
    lower >> 16 | upper & UPPER
}

/// Lane by lane, on the bits.
#[inline(always)]
pub(super) unsafe fn lanes<S: Simd>(x: [S::V; 3], f: impl Fn([u32; 3]) -> u32) -> S::V {
    let mut bits = [[0u32; 16]; 3];
    for (bits, x) in bits.iter_mut().zip(x) {
        S::store(bits.as_mut_ptr().cast(), x);
    }
    let [mut a, b, c] = bits;
    for i in 0..S::LANES {
        a[i] = f([a[i], b[i], c[i]]);
    }
    S::load(a.as_ptr().cast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{has_bf16, Level};
    use crate::simd::{dispatch, Task};

    /// What is done to three numbers.
    #[derive(Clone, Copy)]
    enum Op {
        /// [`dot`].
        Dot,
        /// [`pair`] of the first two.
        Pair,
    }

    /// Lane by lane at a level, by its instruction or in software.
    struct Lanes<'a> {
        op: Op,
        x: &'a [[u32; 3]],
        native: bool,
    }

    impl Task for Lanes<'_> {
        type Output = Vec<u32>;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> Vec<u32> {
            let mut out = vec![0u32; self.x.len()];
            for (x, out) in self.x.chunks_exact(16).zip(out.chunks_exact_mut(16)) {
                for first in (0..16).step_by(S::LANES) {
                    let [a, b, c] =
                        [0, 1, 2].map(|k| S::load(std::array::from_fn::<f32, 16, _>(|i| f32::from_bits(x[(first + i) % 16][k])).as_ptr()));
                    let result = match (self.op, self.native) {
                        (op, true) => S::enter_pairs(Once(op, a, b, c)),
                        (Op::Dot, false) => S::dot2(a, b, c),
                        (Op::Pair, false) => S::round_pairs(a, b),
                    };
                    S::store(out[first..].as_mut_ptr().cast(), result);
                }
            }
            out
        }
    }

    struct Once<V>(Op, V, V, V);

    impl<V: Copy> Task for Once<V> {
        type Output = V;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> V {
            let [a, b, c] = [self.1, self.2, self.3].map(|x| std::mem::transmute_copy::<V, S::V>(&x));
            let result = match self.0 {
                Op::Dot => S::dot2_native(a, b, c),
                Op::Pair => S::round_pairs_native(a, b),
            };
            std::mem::transmute_copy(&result)
        }
    }

    /// Any bits, every fourth number an edge: zeros, denormals, the smallest and largest normal numbers, infinities, NaN, ones and their neighbours.
    fn lanes() -> Vec<[u32; 3]> {
        const EDGES: [u16; 16] = [0, 1, 0x7f, 0x80, 0x81, 0x100, 0x3f7f, 0x3f80, 0x3f81, 0x7f7f, 0x7f80, 0x7fc0, 0x0040, 0x1f80, 0x2000, 0x5f80];
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
        };
        let mut half = || match random() % 4 {
            0 => EDGES[random() as usize % 16] | (random() as u16 & 0x8000),
            // Of moderate size, so that sums neither overflow nor drown.
            1 | 2 => 0x3c00 + (random() as u16 & 0x87ff),
            _ => random() as u16,
        };
        (0..1 << 18).map(|_| [0; 3].map(|_| u32::from(half()) << 16 | u32::from(half()))).collect()
    }

    fn same(op: Op, got: &[u32], x: &[[u32; 3]]) {
        for (got, [a, b, c]) in got.iter().zip(x) {
            let want = match op {
                Op::Dot => dot(*a, *b, f32::from_bits(*c)).to_bits(),
                Op::Pair => super::pair(*a, *b),
            };
            let both_nan = matches!(op, Op::Dot) && f32::from_bits(want).is_nan() && f32::from_bits(*got).is_nan();
            assert!(*got == want || both_nan, "{a:x} {b:x} {c:x}: {got:x}, not {want:x}");
        }
    }

    /// Compares a level with the software for all operations.
    fn all_same(level: Level, x: &[[u32; 3]], native: bool) {
        for op in [Op::Dot, Op::Pair] {
            same(op, &dispatch(level, Lanes { op, x, native }), x);
        }
    }

    #[test]
    fn software_is_the_same_at_every_level() {
        let x = lanes();
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            all_same(level, &x, false);
        }
    }

    #[test]
    fn the_instruction_is_as_the_software() {
        let x = lanes();
        match Level::ALL.into_iter().find(|level| level.available() && has_bf16(*level)) {
            Some(level) => all_same(level, &x, true),
            None => println!("skipped: this CPU has no instruction for products of bf16"),
        }
    }

    const fn pair(lower: u16, upper: u16) -> u32 {
        (upper as u32) << 16 | lower as u32
    }

    #[test]
    fn the_upper_product_comes_first_and_both_sums_are_rounded() {
        const ONE: u16 = 0x3f80;
        // 2^12, -2^12: their product takes away the sum before one is added, which would be lost the other way round.
        assert_eq!(dot(pair(ONE, 0x4580), pair(ONE, 0xc580), 16_777_216.0), 1.0);
        // Two halves of the last bit are lost one after the other.
        assert_eq!(dot(pair(0x3980, 0x3980), pair(0x3980, 0x3980), 1.0), 1.0);
        // (1 + 2^-7)^2 has more bits than a brain float, all of which count.
        assert_eq!(dot(pair(0x3f81, 0), pair(0x3f81, 0), 0.0), 1.0078125 * 1.0078125);
    }

    #[test]
    fn denormal_numbers_are_zeros() {
        const HUGE: u16 = 0x7f00;
        assert_eq!(dot(pair(0x7f, 0), pair(HUGE, 0), 3.0), 3.0);
        assert_eq!(dot(0, 0, f32::from_bits(0x007f_ffff)).to_bits(), 0);
        // 2^-63 * -2^-64 is half of the smallest normal number.
        assert_eq!(dot(pair(0x2000, 0), pair(0x9f80, 0), -0.0).to_bits(), 0x8000_0000);
        assert_eq!(dot(pair(0x2000, 0), pair(0x2000, 0), 0.0), f32::MIN_POSITIVE);
    }

    /// Three quarters of what the last bit of a denormal number would be, half of that of a normal one: only where there are denormal numbers does this round up.
    #[test]
    fn results_too_small_before_rounding_are_zeros() {
        let smallest = f32::MIN_POSITIVE.to_bits();
        let [below, tie] = [0x19c0, 0x1980].map(|upper| [pair(0, upper), pair(0, 0x9a00), smallest]);
        assert_eq!([below, tie].map(|[a, b, c]| dot(a, b, f32::from_bits(c))), [0.0, f32::MIN_POSITIVE]);
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            for x in [[below; 16], [tie; 16]] {
                all_same(level, &x, false);
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_even() {
        for [bits, ..] in lanes() {
            let (got, want) = ((rounded(bits) >> 16) as u16, half::bf16::from_f32(f32::from_bits(bits)));
            assert!(got == want.to_bits(), "{bits:x}: {got:x}, not {want}");
        }
    }

    #[test]
    fn pairs_hold_the_first_number_below_and_no_denormal_ones() {
        let [one, two] = [1f32, -2.0].map(f32::to_bits);
        assert_eq!(super::pair(one, two), 0xc000_3f80);
        // The largest denormal number would be rounded to the smallest normal one.
        assert_eq!(super::pair(0x807f_ffff, 0x007f_ffff), 0x0000_8000);
    }
}
