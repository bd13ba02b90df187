//! A call: input tiles to V, products to M, M to pixels.

use super::transforms::Tile;
use super::Winograd;
use crate::buffer::Buffer;
use crate::conv2d::cpu::{Body, Call};
use crate::conv2d::pixels::{Pixels, OUTSIDE};
use crate::gemm::{self, store_part, Finish, Run, Unit, MR};
use crate::pool;
use crate::simd::{dispatch, streams, Shared, Simd, Task};
use std::cell::RefCell;
use std::marker::PhantomData;

/// Tiles per chunk: V stays in L3, and U is read once per chunk.
const CHUNK: usize = 264;
/// Tiles per task: M stays in L2.
const SLICE: usize = 66;
/// Channels per kernel call; longer than in direct convolution, since M is written once per segment.
const SEGMENT: usize = 320;
/// Input tiles per task, in numbers transformed.
const STEP: usize = 1 << 15;

thread_local! {
    static M: RefCell<Buffer<f32>> = RefCell::default();
}

/// Distance between planes of `len` numbers: an odd number of cache lines.
fn plane(len: usize) -> usize {
    (len.div_ceil(16) | 1) * 16
}

/// What all tasks of a call share.
struct Shape<'a> {
    body: &'a Body,
    pixels: Pixels<'a>,
    /// Output pixels.
    size: (usize, usize),
    /// Tiles down and across.
    tiles: (usize, usize),
    v: Shared<f32>,
    /// Lanes per tile and per position of V.
    v_stride: usize,
    v_plane: usize,
}

impl<T: Tile> Winograd<T> {
    /// Memory that the tiles of a call take: V, and on each thread M.
    pub fn scratch(body: &Body, call: &Call) -> usize {
        let (height, width) = call.grid.output;
        let total = call.grid.batch * height.div_ceil(T::M) * width.div_ceil(T::M);
        let chunk = total.div_ceil(total.div_ceil(CHUNK).max(1)).next_multiple_of(MR);
        let v = plane((chunk + MR) * Self::depth(body).next_multiple_of(16));
        let widest = body.packed.panels.iter().map(|panel| panel.vectors).max().unwrap_or(0) * 16;
        let m = plane(SLICE.next_multiple_of(MR) * widest);
        4 * T::A * T::A * (v + pool::threads() * m)
    }

    pub fn run(&self, body: &Body, call: &Call, finish: &Finish) {
        Self::each_chunk(body, call, finish, |shape, first, count, finish| self.products_of(shape, first, count, finish));
    }

    /// With weights that are made for this call, group by group.
    pub fn once(body: &Body, call: &Call, finish: &Finish) {
        let groups = Self::groups(body);
        let mut made = Self { u: Buffer::unfilled(Self::size_of_group(body) / 4), panels: 0..0, plane: 0, tile: PhantomData };
        Self::each_chunk(body, call, finish, |shape, first, count, finish| {
            for group in &groups {
                if made.panels != *group {
                    made = Self::within(std::mem::take(&mut made.u), body, group.clone());
                }
                made.products_of(shape, first, count, finish);
            }
        });
    }

    /// Calls `f` with the first tile and the number of tiles of each chunk, whose V is there.
    fn each_chunk(body: &Body, call: &Call, finish: &Finish, mut f: impl FnMut(&Shape, usize, usize, &Finish)) {
        let size = call.grid.output;
        let tiles = (size.0.div_ceil(T::M), size.1.div_ceil(T::M));
        let total = call.grid.batch * tiles.0 * tiles.1;
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
            f(&shape, first, count, finish);
        }
    }

    /// Products and output transform of a chunk, for the columns of these weights.
    fn products_of(&self, shape: &Shape, first: usize, count: usize, finish: &Finish) {
        let level = shape.body.packed.level;
        let slice = count.div_ceil(count.div_ceil(SLICE)).next_multiple_of(MR);
        let slices = count.div_ceil(slice);
        pool::run(self.panels.len() * slices, |i| {
            let (panel, start) = (self.panels.start + i / slices, i % slices * slice);
            M.with_borrow_mut(|m| {
                let task = Output { weights: self, shape, finish, panel, first, start, count: slice.min(count - start), m };
                dispatch(level, task)
            })
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

/// Products and output transform of `count` tiles from `start` of the chunk, for one panel of columns.
struct Output<'a, T> {
    weights: &'a Winograd<T>,
    shape: &'a Shape<'a>,
    finish: &'a Finish<'a>,
    panel: usize,
    first: usize,
    start: usize,
    count: usize,
    m: &'a mut Buffer<f32>,
}

impl<T: Tile> Task for Output<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let panel = &self.shape.body.packed.panels[self.panel];
        let width = panel.vectors * S::LANES;
        let m_plane = plane(self.count.next_multiple_of(MR) * width);
        let m = self.m.at_least(T::A * T::A * m_plane).as_mut_ptr();
        self.weights.products::<S>(self.shape, self.panel, self.start, self.count, m, m_plane);
        let Shape { size, tiles, .. } = self.shape;
        let mut t = [[S::splat(0.0); 8]; 8];
        for i in 0..self.count {
            let tile = self.first + self.start + i;
            let (b, y, x) = (tile / (tiles.0 * tiles.1), tile / tiles.1 % tiles.0 * T::M, tile % tiles.1 * T::M);
            let (height, across) = (T::M.min(size.0 - y), T::M.min(size.1 - x));
            for j in (0..panel.cols).step_by(S::LANES) {
                for q in 0..T::A {
                    let mut side = [S::splat(0.0); 8];
                    for r in 0..T::A {
                        side[r] = S::load(m.add((r * T::A + q) * m_plane + i * width + j));
                    }
                    T::output::<S>(&mut side);
                    for r in 0..T::M {
                        t[r][q] = side[r];
                    }
                }
                for r in 0..height {
                    T::output::<S>(&mut t[r]);
                    let row = (b * size.0 + y + r) * size.1 + x;
                    for q in 0..across {
                        self.finish.vector::<S>(row + q, panel.first + j, t[r][q], S::LANES.min(panel.cols - j));
                    }
                }
            }
        }
        S::fence()
    }
}

impl<T: Tile> Winograd<T> {
    /// M = V x U for all positions. A ragged last group of rows is multiplied whole: V has room, and M's extra rows are not used.
    #[inline(always)]
    unsafe fn products<S: Simd>(&self, shape: &Shape, panel: usize, start: usize, count: usize, m: *mut f32, m_plane: usize) {
        let (channels, panels) = (Self::depth(shape.body), &shape.body.packed.panels);
        let panel = &panels[panel];
        let offset = (panel.offset - panels[self.panels.start].offset) * channels;
        let width = panel.vectors * S::LANES;
        let kernel = T::UNIT.kernels::<S>()[panel.vectors - 1][MR - 1];
        let step = channels.div_ceil(channels.div_ceil(SEGMENT));
        for position in 0..T::A * T::A {
            let u = self.u.as_ptr().add(position * self.plane + offset);
            let v = shape.v.get().cast_const().add(position * shape.v_plane + start * shape.v_stride);
            let mut k0 = 0;
            while k0 < channels {
                let run = Run { set: 0, k0, len: step.min(channels - k0) };
                let mut i = 0;
                while i < count {
                    let mut rows = [std::ptr::null::<f32>(); 2 * MR];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = v.wrapping_add((i + r) * shape.v_stride);
                    }
                    let c = m.add(position * m_plane + i * width);
                    let b = u.add(k0 * width);
                    kernel(&gemm::Call { first: k0 == 0, ..gemm::Call::new(&rows, &run, b, c) });
                    i += MR;
                }
                k0 += step;
            }
        }
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
