//! The brain floats that the bytes of a weight stand for, which is where bytes end: they have too few digits for the transforms of a Winograd tile.

use super::cpu::Body;
use crate::gemm::{Packed, Unit};
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};

/// The weights of a convolution of bytes as pairs of brain floats, in panels of the same columns.
pub(super) fn pack(body: &Body) -> Packed {
    let from = &body.packed;
    Packed::of_lanes(from.level, Unit::Pair, (sets(body), lanes(body)), from.n, |to, data| {
        let data = Shared::new(data);
        pool::run(to.panels.len(), |panel| dispatch(to.level, Widen { from, to, sets: sets(body), lanes: lanes(body), panel, data }))
    })
}

/// Memory that they take.
pub(super) fn size(body: &Body) -> usize {
    4 * sets(body) * lanes(body) * body.packed.columns()
}

fn sets(body: &Body) -> usize {
    body.shape.2 * body.shape.3
}

fn lanes(body: &Body) -> usize {
    body.shape.1.div_ceil(Unit::Pair.numbers())
}

/// One panel.
struct Widen<'a> {
    from: &'a Packed,
    to: &'a Packed,
    sets: usize,
    /// Pairs of channels.
    lanes: usize,
    panel: usize,
    data: Shared<f32>,
}

impl Task for Widen<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { from, to, data, .. } = self;
        let panel = &to.panels[self.panel];
        for set in 0..self.sets {
            for k in 0..self.lanes {
                for j in (0..panel.vectors * S::LANES).step_by(S::LANES) {
                    let number = |channel: usize| from.vector::<S>(panel, set, channel, j);
                    S::store(data.get().add(to.at(panel, S::LANES, (set, k), j)), S::round_pairs(number(2 * k), number(2 * k + 1)));
                }
            }
        }
    }
}
