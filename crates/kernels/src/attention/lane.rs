//! What a lane of both operands of attention's products holds, as in matrix products: an f32, or two brain floats. Two dimensions of queries and keys share a lane
//! when they are half of a head apart, so that no numbers are moved between lanes for it; two keys when they follow each other, so that a lane never depends on how
//! many keys are seen.

use crate::cpu::Level;
use crate::gemm::{Float, Lane, Pair};
use crate::simd::{dispatch, Simd, Task};
use std::marker::PhantomData;

/// Lanes that attention fills itself.
pub(super) trait Held: Lane {
    /// Numbers per lane.
    const NUMBERS: usize;
    /// Coefficients of 2^f on half a unit around zero, the highest first: minimax, of a relative error far below that of a held number.
    const EXP2: &'static [f32];

    /// Of `NUMBERS` numbers each, rounded to what is held; the others are not read.
    unsafe fn hold<S: Simd>(numbers: [S::V; 2]) -> S::V;
    /// The sum of the numbers that each lane holds.
    unsafe fn sum<S: Simd>(held: S::V) -> S::V;
}

impl Held for Float {
    const NUMBERS: usize = 1;
    // 7e-8
    const EXP2: &'static [f32] = &[0.001_327_647_2, 0.009_675_542, 0.055_507_13, 0.240_221_2, 0.693_146_94, 1.000_000_1];

    #[inline(always)]
    unsafe fn hold<S: Simd>([x, _]: [S::V; 2]) -> S::V {
        x
    }
    #[inline(always)]
    unsafe fn sum<S: Simd>(held: S::V) -> S::V {
        held
    }
}

impl<const NATIVE: bool> Held for Pair<NATIVE> {
    const NUMBERS: usize = 2;
    // 7e-5
    const EXP2: &'static [f32] = &[0.055_171_67, 0.242_611_12, 0.693_261, 0.999_928_1];

    #[inline(always)]
    unsafe fn hold<S: Simd>([lower, upper]: [S::V; 2]) -> S::V {
        if NATIVE {
            S::round_pairs_native(lower, upper)
        } else {
            S::round_pairs(lower, upper)
        }
    }
    #[inline(always)]
    unsafe fn sum<S: Simd>(held: S::V) -> S::V {
        let [lower, upper] = S::widen_pairs(held);
        S::add(lower, upper)
    }
}

/// Runs the task with the instructions of a level and of a lane enabled.
pub(super) fn dispatch_lane<L: Lane, T: Task>(level: Level, task: T) -> T::Output {
    struct Entered<T, L>(T, PhantomData<L>);
    impl<T: Task, L: Lane> Task for Entered<T, L> {
        type Output = T::Output;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> T::Output {
            L::enter::<S, T>(self.0)
        }
    }
    dispatch(level, Entered(task, PhantomData::<L>))
}

/// Lanes from so many numbers at each of two places: of the first place as many as there are lanes, of the second one at most, the others being zeros.
#[inline(always)]
pub(super) unsafe fn lay<L: Held, S: Simd>(from: [(*const f32, usize); 2], to: *mut f32) {
    let count = from[0].1;
    for j in (0..count).step_by(S::LANES) {
        let mut numbers = [S::splat(0.0); 2];
        for i in 0..L::NUMBERS {
            let (from, n) = (from[i].0.wrapping_add(j), from[i].1.saturating_sub(j));
            numbers[i] = if n >= S::LANES { S::load(from) } else { S::load_part(from, n) };
        }
        S::store_part(to.add(j), L::hold::<S>(numbers), S::LANES.min(count - j));
    }
}
