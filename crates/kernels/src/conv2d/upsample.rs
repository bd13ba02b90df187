//! Nearest 2x up-sampling followed by a 3x3 convolution, as four 2x2 convolutions of the small image, one per parity of the output pixel: where two taps read
//! the same small pixel their weights are added beforehand. 4/9 of the work, exact up to rounding.

use super::cpu::{Body, Call};
use super::pixels::{Grid, Pixels};
use super::{Conv2dConfig, Padding};
use crate::gemm::{gemm, Finish, Packed, Phase, Unit};
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};

/// Packed weights by parity `2 * y + x`.
pub(super) struct Phases([Packed; 4]);

/// Whether the call is such a one.
pub(super) fn fits(body: &Body, call: &Call) -> bool {
    let Grid { input: (height, width), resize, .. } = call.grid;
    let (_, _, kh, kw) = body.shape;
    let shape = (kh, kw) == (3, 3) && body.config == Conv2dConfig { stride: 1, padding: Padding::Same(1) };
    let doubles = resize == Some((2 * height, 2 * width)) && call.sources.len() == 1;
    shape && doubles && body.packed.unit() != Unit::Quad && !crate::cpu::saves_memory()
}

impl Phases {
    /// In f32 for a half-precision storage, which is rounded once then; in the pairs that are multiplied for a matrix of pairs.
    pub fn new(body: &Body) -> Self {
        let (n, channels, _, _) = body.shape;
        let (level, unit) = (body.packed.level, body.packed.unit());
        Self([0, 1, 2, 3].map(|parity| {
            Packed::of_lanes(level, unit, (4, channels.div_ceil(unit.numbers())), n, |to, data| {
                let data = Shared::new(data);
                pool::run(to.panels.len(), |panel| dispatch(to.level, Merge { from: &body.packed, unit, to, data, panel, parity }))
            })
        }))
    }

    pub fn run(&self, body: &Body, call: &Call, finish: &Finish) {
        let (height, width) = call.grid.input;
        let grid = Grid { resize: None, output: call.grid.input, ..call.grid };
        for (i, packed) in self.0.iter().enumerate() {
            let (y, x) = (i / 2, i % 2);
            let padding = Padding::Asymmetric { top: 1 - y, left: 1 - x, bottom: y, right: x };
            let pixels = Pixels::new(call.sources, &grid, (2, 2), Conv2dConfig { stride: 1, padding }, &body.zeros);
            gemm(&pixels, grid.batch * height * width, packed, &Finish { phase: Some(Phase { width, y, x }), ..*finish });
        }
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Packed::bytes).sum()
    }
}

/// Adds the taps of one panel that read the same pixel. The panels of both matrices hold the same columns.
struct Merge<'a> {
    from: &'a Packed,
    unit: Unit,
    to: &'a Packed,
    data: Shared<f32>,
    panel: usize,
    parity: usize,
}

impl Task for Merge<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { from, unit, to, data, parity, .. } = self;
        let panel = &to.panels[self.panel];
        for tap in 0..4 {
            let (rows, columns) = (merged(parity / 2, tap / 2), merged(parity % 2, tap % 2));
            for k in 0..to.k / 4 {
                for j in (0..panel.vectors * S::LANES).step_by(S::LANES) {
                    let sum = |channel: usize| {
                        let mut sum = S::splat(0.0);
                        for y in rows.clone() {
                            for x in columns.clone() {
                                sum = S::add(sum, from.vector::<S>(panel, 3 * y + x, channel, j));
                            }
                        }
                        sum
                    };
                    let lanes = match unit {
                        Unit::Pair => S::round_pairs(sum(2 * k), sum(2 * k + 1)),
                        Unit::Float | Unit::Quad => sum(k),
                    };
                    S::store(data.get().add(to.at(panel, S::LANES, (tap, k), j)), lanes);
                }
            }
        }
    }
}

/// The taps of three that read the pixel of tap `tap` of two.
fn merged(parity: usize, tap: usize) -> std::ops::Range<usize> {
    match (parity, tap) {
        (0, 0) => 0..1,
        (0, _) => 1..3,
        (_, 0) => 0..2,
        _ => 2..3,
    }
}
