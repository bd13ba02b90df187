//! Nearest 2x up-sampling followed by a 3x3 convolution, as four 2x2 convolutions of the small image, one per parity of the output pixel: where two taps read
//! the same small pixel their weights are added beforehand. 4/9 of the work, exact up to rounding.

use super::cpu::{Body, Call};
use super::pixels::{Grid, Pixels};
use super::{Conv2dConfig, Padding};
use crate::gemm::{gemm, Finish, Packed, Phase, Source};
use candle_core::DType;

/// Packed weights by parity `2 * y + x`; empty if they could not be made.
pub(super) struct Phases(Vec<Packed>);

/// Whether the call is such a one.
pub(super) fn fits(body: &Body, call: &Call) -> bool {
    let Grid { input: (height, width), resize, .. } = call.grid;
    let (_, _, kh, kw) = body.shape;
    let shape = (kh, kw) == (3, 3) && body.config == Conv2dConfig { stride: 1, padding: Padding::Same(1) };
    shape && resize == Some((2 * height, 2 * width)) && call.sources.len() == 1 && !crate::cpu::saves_memory()
}

impl Phases {
    /// Kept in f32, so that a half-precision storage is rounded once.
    pub fn new(body: &Body) -> Self {
        let (n, channels, _, _) = body.shape;
        let widths = [channels; 4];
        let phase = |parity: usize| {
            let value = |tap: usize, k: usize, column: usize| -> f32 {
                let taps = merged(parity / 2, tap / 2).flat_map(|y| merged(parity % 2, tap % 2).map(move |x| 3 * y + x));
                taps.map(|tap| body.packed.value(tap, k, column)).sum()
            };
            Packed::new(body.packed.level, DType::F32.into(), &Source { widths: &widths, n, gated: false, value }).ok()
        };
        Self((0..4).map_while(phase).collect())
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

/// The taps of three that read the pixel of tap `tap` of two.
fn merged(parity: usize, tap: usize) -> std::ops::Range<usize> {
    match (parity, tap) {
        (0, 0) => 0..1,
        (0, _) => 1..3,
        (_, 0) => 0..2,
        _ => 2..3,
    }
}
