//! 3x3 convolution by Winograd's F(m x m, 3 x 3): input tiles of (m + 2)^2 pixels are transformed per channel, the products over channels are matrix products
//! of the GEMM's micro-kernel, and each result tile is transformed back. Multiplications per pixel: 9 direct, 4 for m = 2, 2.25 for 4, 1.78 for 6.
//!
//! Work is cut so that nothing large travels far: a chunk of tiles is transformed into V (shared, in L3), then each task takes one panel of output channels and a
//! slice of the chunk's tiles, multiplies all positions into a private M (in L2) and transforms M back. V is `[position][tile][channel]`, M
//! `[position][tile][column]`; positions are an odd number of cache lines apart, because multiples of 4 KiB would fall into the same cache sets.

mod run;
mod transforms;

pub(super) use transforms::{InPairs, Tile, F2, F4, F6};

use super::cpu::{Body, Call};
use super::{Conv2dConfig, Padding};
use crate::buffer::Buffer;
use crate::gemm::{Packed, Panel, Unit};
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::marker::PhantomData;
use std::ops::Range;
use transforms::weight;

/// Most bytes of weights that are made for one call at a time, unless the threads need more to have work: some panels after the others.
const GROUP: usize = 48 << 20;
/// Channels per task that transforms weights.
const CHANNELS: usize = 64;

/// The form that serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F2,
    /// With products of brain floats.
    F2InPairs,
    F4,
    F6,
}

/// Which form pays for this call, if any: larger tiles save more products and need larger images and more memory for weights.
pub(super) fn choose(body: &Body, call: &Call) -> Option<Kind> {
    let (n, channels, kh, kw) = body.shape;
    let stride_one = matches!(body.config, Conv2dConfig { stride: 1, padding: Padding::Same(1) });
    if (kh, kw) != (3, 3) || !stride_one || crate::cpu::saves_memory() {
        return None;
    }
    let side = call.grid.output.0.min(call.grid.output.1);
    match (side, channels.min(n)) {
        // Bytes are too short for the transforms.
        _ if body.packed.unit() == Unit::Quad => None,
        // In f32 for brain floats too: it takes less than half of the products of F2.
        (128.., 64..) => Some(Kind::F6),
        // The transforms of larger tiles would cost brain floats another digit.
        (12.., 16..) if body.packed.unit() == Unit::Pair => Some(Kind::F2InPairs),
        (28.., 16..) => Some(Kind::F4),
        // Here the weights are most of the traffic.
        (12.., 256..) => Some(Kind::F2),
        (12.., 16..) => Some(Kind::F4),
        _ => None,
    }
}

/// Transformed weights U of some panels: `[position][panel][channel][column]`, channels in lanes.
pub(super) struct Winograd<T> {
    u: Buffer<f32>,
    panels: Range<usize>,
    /// Lanes per position.
    plane: usize,
    tile: PhantomData<T>,
}

impl<T: Tile> Winograd<T> {
    /// All, from the packed 3x3 weights, whose panels it keeps.
    pub fn new(body: &Body) -> Self {
        Self::within(Buffer::default(), body, 0..body.packed.panels.len())
    }

    fn within(mut u: Buffer<f32>, body: &Body, panels: Range<usize>) -> Self {
        let packed = &body.packed;
        let depth = Self::depth(body);
        let plane = depth * packed.columns_in(&panels);
        if u.len() < T::A * T::A * plane {
            drop(std::mem::take(&mut u));
            u = Buffer::unfilled(T::A * T::A * plane);
        }
        let (to, parts) = (Shared::new(u.as_mut_ptr()), depth.div_ceil(CHANNELS));
        pool::run(panels.len() * parts, |i| {
            let (panel, first) = (panels.start + i / parts, i % parts * CHANNELS);
            let channels = first..depth.min(first + CHANNELS);
            dispatch(packed.level, Transform::<T> { packed, panel, start: panels.start, channels, u: to, depth, plane, tile: PhantomData })
        });
        Self { u, panels, plane, tile: PhantomData }
    }

    /// The panels that a call that keeps nothing makes at a time.
    fn groups(body: &Body) -> Vec<Range<usize>> {
        let panels = body.packed.panels.len();
        let most = (GROUP * panels / Self::size(body).max(1)).max(pool::threads());
        let count = panels.div_ceil(most.max(1));
        (0..count).map(|i| i * panels / count..(i + 1) * panels / count).collect()
    }

    /// Memory that the weights of a convolution take in this form.
    pub fn size(body: &Body) -> usize {
        Self::size_of(body, &(0..body.packed.panels.len()))
    }

    /// Memory that a call that keeps nothing takes for weights.
    pub fn size_of_group(body: &Body) -> usize {
        Self::groups(body).iter().map(|group| Self::size_of(body, group)).max().unwrap_or(0)
    }

    fn size_of(body: &Body, panels: &Range<usize>) -> usize {
        4 * T::A * T::A * Self::depth(body) * body.packed.columns_in(panels)
    }

    /// Lanes of the channels.
    fn depth(body: &Body) -> usize {
        body.shape.1.div_ceil(T::UNIT.numbers())
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        4 * self.u.len()
    }
}

/// U = G g G^T for some channels of one panel.
struct Transform<'a, T> {
    packed: &'a Packed,
    panel: usize,
    /// The first panel of `u`.
    start: usize,
    channels: Range<usize>,
    u: Shared<f32>,
    depth: usize,
    plane: usize,
    tile: PhantomData<T>,
}

impl<T: Tile> Task for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let panel = &self.packed.panels[self.panel];
        let width = panel.vectors * S::LANES;
        let to = self.u.get().add((panel.offset - self.packed.panels[self.start].offset) * self.depth);
        for k in self.channels.clone() {
            for j in (0..width).step_by(S::LANES) {
                let pairs = T::UNIT == Unit::Pair;
                let lower = self.columns::<S>(panel, if pairs { 2 * k } else { k }, j);
                let upper = if pairs { self.columns::<S>(panel, 2 * k + 1, j) } else { lower };
                for i in 0..T::A {
                    let lower = weight::<S, T>(lower[i]);
                    let upper = if pairs { weight::<S, T>(upper[i]) } else { lower };
                    for l in 0..T::A {
                        let value = if pairs { S::round_pairs(lower[l], upper[l]) } else { lower[l] };
                        // Past the caches, which hold less than a large layer's weights; panels are whole vectors.
                        S::stream(to.add((i * T::A + l) * self.plane + k * width + j), value);
                    }
                }
            }
        }
        S::fence()
    }
}

impl<T: Tile> Transform<'_, T> {
    /// G g of a channel.
    #[inline(always)]
    unsafe fn columns<S: Simd>(&self, panel: &Panel, channel: usize, j: usize) -> [[S::V; 3]; 8] {
        let mut half = [[S::splat(0.0); 3]; 8];
        for x in 0..3 {
            let mut column = [S::splat(0.0); 3];
            for (y, value) in column.iter_mut().enumerate() {
                *value = self.packed.vector::<S>(panel, 3 * y + x, channel, j);
            }
            let column = weight::<S, T>(column);
            for i in 0..T::A {
                half[i][x] = column[i];
            }
        }
        half
    }
}
