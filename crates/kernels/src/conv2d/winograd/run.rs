//! A call, chunk by chunk: input tiles to V, and the tasks that make pixels of it.

use super::products::{scratch, Output};
use super::transforms::Tile;
use super::Winograd;
use crate::buffer::Buffer;
use crate::conv2d::cpu::{Body, Call};
use crate::conv2d::pixels::{Pixels, OUTSIDE};
use crate::gemm::{store_part, Finish, Unit, MR};
use crate::pool;
use crate::simd::{dispatch, streams, Shared, Simd, Task};
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles per chunk: V stays in L3, and U is read once per chunk.
const CHUNK: usize = 264;
/// Tiles per task: U is read from L3 once for all of them, which costs more than what of M does not fit into L2; with half as many convolutions took 8 to 12 % more time.
const SLICE: usize = 132;
/// Tasks for each thread that level out their ends; of fewer, slices are halved.
const TASKS: usize = 4;
/// With at most so many tiles each task makes its panel's weights itself, a few channels at a time and only in L2: through memory they would take longer than
/// their products.
const FEW: usize = SLICE;
/// Input tiles per task, in numbers transformed.
const STEP: usize = 1 << 15;

/// Distance between planes of `len` numbers: an odd number of cache lines.
pub(super) fn plane(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}

/// What all tasks of a call share.
pub(super) struct Shape<'a> {
    pub body: &'a Body,
    pixels: Pixels<'a>,
    /// Output pixels.
    pub size: (usize, usize),
    /// Tiles down and across.
    pub tiles: (usize, usize),
    pub v: Shared<f32>,
    /// Lanes per tile and per position of V.
    pub v_stride: usize,
    pub v_plane: usize,
}

impl<T: Tile> Winograd<T> {
    /// Memory that the tiles of a call take: V, and on each thread what its task works on.
    pub fn scratch(body: &Body, call: &Call) -> usize {
        let total = Self::tiles(call).2;
        let chunk = total.div_ceil(total.div_ceil(CHUNK).max(1)).next_multiple_of(MR);
        let v = plane((chunk + MR) * Self::depth(body).next_multiple_of(16));
        let widest = body.packed.panels.iter().map(|panel| panel.vectors).max().unwrap_or(0) * 16;
        4 * (T::A * T::A * v + pool::threads() * scratch::<T>(SLICE.next_multiple_of(MR), widest))
    }

    /// Tiles down, across, and of all samples.
    fn tiles(call: &Call) -> (usize, usize, usize) {
        let (height, width) = call.grid.output;
        let (down, across) = (height.div_ceil(T::M), width.div_ceil(T::M));
        (down, across, call.grid.batch * down * across)
    }

    /// Whether a call that keeps nothing makes weights next to their products.
    pub fn is_small(call: &Call) -> bool {
        Self::tiles(call).2 <= FEW
    }

    pub fn run(&self, body: &Body, call: &Call, finish: &Finish) {
        Self::each_chunk(body, call, finish, |chunk| chunk.products(Some(self), 0..body.packed.panels.len()));
    }

    /// With weights that are made for this call: next to their products, or group by group.
    pub fn once(body: &Body, call: &Call, finish: &Finish) {
        if Self::is_small(call) {
            return Self::each_chunk(body, call, finish, |chunk| chunk.products::<T>(None, 0..body.packed.panels.len()));
        }
        let groups = Self::groups(body);
        let mut made = Self::empty(Self::size_of_group(body) / 4);
        Self::each_chunk(body, call, finish, |chunk| {
            for group in &groups {
                made.become_of(body, group);
                chunk.products(Some(&made), group.clone());
            }
        });
    }

    /// Calls `f` with each chunk, whose V is there.
    fn each_chunk(body: &Body, call: &Call, finish: &Finish, mut f: impl FnMut(&Chunk)) {
        let size = call.grid.output;
        let (down, across, total) = Self::tiles(call);
        let tiles = (down, across);
        let finish = &Finish { streamed: streams(finish.out, call.grid.batch * size.0 * size.1 * finish.n, finish.n), ..*finish };
        let chunk = total.div_ceil(total.div_ceil(CHUNK)).next_multiple_of(MR);
        let v_stride = Self::depth(body).next_multiple_of(16);
        let v_plane = plane((chunk + MR) * v_stride);
        let mut memory = Buffer::unfilled(T::A * T::A * v_plane);
        let v = Shared::new(memory.as_mut_ptr());
        let pixels = Pixels::tiled(call.sources, &call.grid, (tiles.0 * T::M + 2, tiles.1 * T::M + 2), body.config, &body.zeros);
        let shape = Shape { body, pixels, size, tiles, v, v_stride, v_plane };
        for first in (0..total).step_by(chunk) {
            let count = chunk.min(total - first);
            let step = (STEP / (T::A * T::A * v_stride)).max(1);
            pool::run(count.div_ceil(step), |i| {
                let range = i * step..count.min((i + 1) * step);
                dispatch(body.packed.level, Input::<T> { shape: &shape, first, range, tile: PhantomData })
            });
            f(&Chunk { shape: &shape, finish, first, count });
        }
    }
}

/// Tiles whose V is there.
struct Chunk<'a> {
    shape: &'a Shape<'a>,
    finish: &'a Finish<'a>,
    first: usize,
    count: usize,
}

impl Chunk<'_> {
    /// Products and output transform for some panels, of weights that are there or are made on the spot.
    fn products<T: Tile>(&self, weights: Option<&Winograd<T>>, panels: Range<usize>) {
        let &Self { shape, finish, first, count } = self;
        let most = if panels.len() * count.div_ceil(SLICE) < TASKS * pool::threads() { SLICE / 2 } else { SLICE };
        let slice = count.div_ceil(count.div_ceil(most)).next_multiple_of(MR);
        let slices = count.div_ceil(slice);
        pool::run(panels.len() * slices, |i| {
            let (panel, start) = (panels.start + i / slices, i % slices * slice);
            Output { weights, shape, finish, panel, first: first + start, start, count: slice.min(count - start) }.dispatch()
        });
    }
}

/// V = B^T d B for some tiles of the chunk that starts at tile `first`.
struct Input<'a, T> {
    shape: &'a Shape<'a>,
    first: usize,
    range: std::ops::Range<usize>,
    tile: PhantomData<T>,
}

impl<T: Tile> Task for Input<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Shape { pixels, tiles, v, v_stride, v_plane, .. } = self.shape;
        let mut from = [[std::ptr::null::<f32>(); 8]; 8];
        // Outside the loops: else the compiler clears it for every vector.
        let mut t = [[S::splat(0.0); 8]; 8];
        for i in self.range {
            let tile = self.first + i;
            let (b, y, x) = (tile / (tiles.0 * tiles.1), tile / tiles.1 % tiles.0 * T::M, tile % tiles.1 * T::M);
            let mut column = 0;
            for source in 0..pixels.sources.len() {
                let width = pixels.sources[source].1;
                for (r, row) in from.iter_mut().enumerate().take(T::A) {
                    for (c, p) in row.iter_mut().enumerate().take(T::A) {
                        *p = pixels.at(source, b, y + r, x + c);
                    }
                }
                let to = v.get().add(i * v_stride);
                let mut c = 0;
                while c < width {
                    let n = S::LANES.min(width - c);
                    let aligned = n == S::LANES && column % S::LANES == 0;
                    for q in 0..T::A {
                        let mut side = [S::splat(0.0); 8];
                        for r in 0..T::A {
                            let p = from[r][q].add(c);
                            side[r] = if n == S::LANES { S::load(p) } else { S::load_part(p, n) };
                        }
                        T::input::<S>(&mut side);
                        for r in 0..T::A {
                            t[r][q] = side[r];
                        }
                    }
                    for r in 0..T::A {
                        T::input::<S>(&mut t[r]);
                        for q in 0..T::A {
                            let p = to.add((r * T::A + q) * v_plane);
                            if T::UNIT == Unit::Pair {
                                store_part::<S>(p.cast::<u16>().add(column + c), t[r][q], n);
                                continue;
                            }
                            let p = p.add(column + c);
                            if aligned {
                                // Past the caches: V is larger than L2, and a plain store would first read the line.
                                S::stream(p, t[r][q])
                            } else {
                                S::store_part(p, t[r][q], n)
                            }
                        }
                    }
                    c += S::LANES;
                }
                column += width;
            }
            if T::UNIT == Unit::Pair && column % 2 == 1 {
                // The last channel is paired with zero.
                (0..T::A * T::A).for_each(|position| *v.get().add(i * v_stride + position * v_plane).cast::<u16>().add(column) = 0);
            }
        }
        S::fence()
    }
}

impl Pixels<'_> {
    /// The channels of the pixel at padded position (y, x).
    #[inline(always)]
    fn at(&self, source: usize, sample: usize, y: usize, x: usize) -> *const f32 {
        let (row, column) = (self.rows[y], self.columns[x]);
        if row == OUTSIDE || column == OUTSIDE {
            return self.zeros;
        }
        let (data, channels) = self.sources[source];
        let (height, width) = self.grid.input;
        data.as_ptr().wrapping_add(((sample * height + row) * width + column) * channels)
    }
}
