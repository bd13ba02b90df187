//! Transformed weights: all of a convolution's, kept; some panels', for one call; or some channels of one panel, in L2 just before they are multiplied.

use super::transforms::{weight, Side, Tile, G};
use crate::buffer::Buffer;
use crate::conv2d::cpu::Body;
use crate::gemm::{Bf16, Data, Packed, Panel, Stored, Unit, F16};
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::marker::PhantomData;
use std::ops::Range;

/// Most bytes of weights that are made for one call at a time, unless the threads need more to have work: some panels after the others.
const GROUP: usize = 48 << 20;
/// Channels per task that transforms weights.
const CHANNELS: usize = 64;

/// Transformed weights U of some panels: `[position][panel][channel][column]`, channels in lanes.
pub(in crate::conv2d) struct Winograd<T> {
    u: Buffer<f32>,
    pub(super) panels: Range<usize>,
    /// Lanes per position.
    plane: usize,
    tile: PhantomData<T>,
}

impl<T: Tile> Winograd<T> {
    /// All, from the packed 3x3 weights, whose panels it keeps.
    pub fn new(body: &Body) -> Self {
        Self::within(Buffer::default(), body, 0..body.packed.panels.len())
    }

    /// Makes these panels, if it does not hold them, in the memory of those that it holds.
    pub fn become_of(&mut self, body: &Body, panels: &Range<usize>) {
        if self.panels != *panels {
            *self = Self::within(std::mem::take(&mut self.u), body, panels.clone());
        }
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
        let start = packed.panels[panels.start].offset;
        pool::run(panels.len() * parts, |i| {
            let (panel, first) = (&packed.panels[panels.start + i / parts], i % parts * CHANNELS);
            let channels = first..depth.min(first + CHANNELS);
            let width = packed.columns_in(&(panels.start + i / parts..panels.start + i / parts + 1));
            // SAFETY: the tasks' parts do not overlap and lie inside U.
            let u = unsafe { to.get().add((panel.offset - start) * depth + first * width) };
            dispatch(packed.level, Transform::<T> { packed, panel, channels, rows: 0..T::A, u, plane, streamed: true, tile: PhantomData })
        });
        Self { u, panels, plane, tile: PhantomData }
    }

    /// None yet, with room for so many numbers.
    pub fn empty(len: usize) -> Self {
        Self { u: Buffer::unfilled(len), panels: 0..0, plane: 0, tile: PhantomData }
    }

    /// Where U of a position of a panel begins.
    pub fn at(&self, body: &Body, panel: usize, position: usize) -> *const f32 {
        let panels = &body.packed.panels;
        let before = (panels[panel].offset - panels[self.panels.start].offset) * Self::depth(body);
        self.u.as_ptr().wrapping_add(position * self.plane + before)
    }

    /// The panels that a call that keeps nothing makes at a time.
    pub(super) fn groups(body: &Body) -> Vec<Range<usize>> {
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
    pub(super) fn depth(body: &Body) -> usize {
        body.shape.1.div_ceil(T::UNIT.numbers())
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        4 * self.u.len()
    }
}

/// Channels of U that a packed lane holds: two where the taps are pairs of brain floats and the tile multiplies floats.
pub(super) fn shared<T: Tile>(packed: &Packed) -> usize {
    packed.unit().numbers() / T::UNIT.numbers()
}

/// U = G g G^T for some channels of one panel.
pub(super) struct Transform<'a, T> {
    pub packed: &'a Packed,
    pub panel: &'a Panel,
    /// In lanes of the tile.
    pub channels: Range<usize>,
    /// Rows of U's tile.
    pub rows: Range<usize>,
    /// `[position][channel][column]`, from the first of these rows and channels on.
    pub u: *mut f32,
    /// Lanes from one position to the next.
    pub plane: usize,
    /// Past the caches, which hold less than a large layer's weights.
    pub streamed: bool,
    pub tile: PhantomData<T>,
}

impl<T: Tile> Task for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match &self.packed.data {
            Data::F32(data) => self.from::<S, _>(data.as_ptr()),
            Data::F16(data) => self.from::<S, _>(data.as_ptr().cast::<F16>()),
            Data::Bf16(data) => self.from::<S, _>(data.as_ptr().cast::<Bf16>()),
            Data::Pairs(data) => self.from::<S, _>(data.as_ptr()),
            // Bytes are never transformed.
            Data::Quads(_) => {}
        }
        if self.streamed {
            S::fence()
        }
    }
}

impl<T: Tile> Transform<'_, T> {
    #[inline(always)]
    unsafe fn from<S: Simd, N: Stored>(&self, data: *const N) {
        let width = self.panel.vectors * S::LANES;
        let (mut to, mut channels) = (self.u, self.channels.clone());
        let shared = shared::<T>(self.packed);
        while !channels.is_empty() {
            let rows = channels.start / shared..channels.end.div_ceil(shared);
            let slice = self.packed.slice(self.panel, S::LANES, &rows);
            let end = channels.end.min((rows.start + slice.channels) * shared);
            for channel in channels.start..end {
                let at = slice.at + (channel / shared - rows.start) * width;
                for j in (0..width).step_by(S::LANES) {
                    self.vectors::<S, N>(data.add(at + j), slice.between, channel % shared, to);
                    to = to.add(S::LANES);
                }
            }
            channels.start = end;
        }
    }

    /// Some columns of a channel, whose taps are so many lanes apart, for a tile of floats the ones of this number in each lane.
    #[inline(always)]
    unsafe fn vectors<S: Simd, N: Stored>(&self, taps: *const N, between: usize, within: usize, to: *mut f32) {
        let (mut lower, mut upper) = ([S::splat(0.0); 9], [S::splat(0.0); 9]);
        for tap in 0..9 {
            let numbers = N::load::<S>(taps.add(tap * between));
            (lower[tap], upper[tap]) = (numbers[within], numbers[1]);
        }
        for i in self.rows.clone() {
            let mut row = row::<S, T>(&lower, i);
            if T::UNIT == Unit::Pair {
                let upper = self::row::<S, T>(&upper, i);
                for l in 0..T::A {
                    row[l] = S::round_pairs(row[l], upper[l]);
                }
            }
            for l in 0..T::A {
                let to = to.add(((i - self.rows.start) * T::A + l) * self.plane);
                // Panels are whole vectors.
                if self.streamed {
                    S::stream(to, row[l])
                } else {
                    S::store(to, row[l])
                }
            }
        }
    }
}

/// Row i of U's tile: G's row i times the taps, times G^T.
#[inline(always)]
unsafe fn row<S: Simd, T: Tile>(taps: &[S::V; 9], i: usize) -> Side<S> {
    let [a, b, c] = G::<T>::ROWS[i];
    let mut half = [taps[0]; 3];
    for x in 0..3 {
        half[x] = S::fma(S::splat(a), taps[x], S::fma(S::splat(b), taps[3 + x], S::mul(S::splat(c), taps[6 + x])));
    }
    weight::<S, T>(half)
}
