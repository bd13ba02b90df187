//! One task: the products of some tiles with one panel of columns, and their way back to pixels.

use super::run::{plane, Shape};
use super::transforms::Tile;
use super::weights::{shared, Transform, Winograd};
use crate::buffer::Buffer;
use crate::gemm::{self, Finish, Packed, Panel, Run, MR};
use crate::simd::{dispatch, Simd, Task};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// Channels per kernel call; longer than in direct convolution, since M is written once per segment.
const SEGMENT: usize = 320;
/// Bytes of M, of the weights that are made next to it, and of their taps: they stay in L2.
const NEAR: usize = 896 << 10;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Channels that are made at a time at least.
const LEAST: usize = 64;

/// What a thread works on: products, and weights that are made next to them.
#[derive(Default)]
struct Scratch {
    m: Buffer<f32>,
    u: Buffer<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Channels of weights that are made at a time for so many tiles: one row of U's tile, the taps it is made of, and the next ones.
fn segment<T: Tile>(tiles: usize, width: usize) -> usize {
    NEAR.saturating_sub(4 * T::A * T::A * tiles * width).div_euclid(4 * (T::A + 2 * 9) * width).clamp(LEAST, SEGMENT)
}

/// Numbers that a task needs for so many tiles.
pub(super) fn scratch<T: Tile>(tiles: usize, width: usize) -> usize {
    T::A * (T::A * plane(tiles * width) + plane(segment::<T>(tiles, width) * width))
}

/// Products and output transform of `count` tiles from `start` of the chunk, for one panel of columns.
pub(super) struct Output<'a, T> {
    /// None: they are made here.
    pub weights: Option<&'a Winograd<T>>,
    pub shape: &'a Shape<'a>,
    pub finish: &'a Finish<'a>,
    pub panel: usize,
    /// The first tile among those of the call, and of the chunk.
    pub first: usize,
    pub start: usize,
    pub count: usize,
}

impl<T: Tile> Output<'_, T> {
    pub fn dispatch(self) {
        SCRATCH.with_borrow_mut(|scratch| dispatch(self.shape.body.packed.level, Work { task: self, scratch }))
    }
}

/// The task with the memory of its thread.
struct Work<'a, T> {
    task: Output<'a, T>,
    scratch: &'a mut Scratch,
}

impl<T: Tile> Task for Work<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { task, scratch } = self;
        let panel = &task.shape.body.packed.panels[task.panel];
        let width = panel.vectors * S::LANES;
        let tiles = task.count.next_multiple_of(MR);
        let m_plane = plane(tiles * width);
        let m = scratch.m.at_least(T::A * T::A * m_plane).as_mut_ptr();
        let channels = Winograd::<T>::depth(task.shape.body);
        match task.weights {
            Some(weights) => {
                let step = even(channels, SEGMENT);
                for position in 0..T::A * T::A {
                    let u = weights.at(task.shape.body, task.panel, position);
                    for k0 in (0..channels).step_by(step) {
                        let range = k0..channels.min(k0 + step);
                        task.multiply::<S>(position, range, u.add(k0 * width), m.add(position * m_plane), &mut None);
                    }
                }
            }
            None => {
                let step = even(channels, segment::<T>(tiles, width));
                let u_plane = plane(step * width);
                let u = scratch.u.at_least(T::A * u_plane).as_mut_ptr();
                let packed = &task.shape.body.packed;
                for k0 in (0..channels).step_by(step) {
                    let range = k0..channels.min(k0 + step);
                    let next = range.end / shared::<T>(packed)..channels.min(range.end + step).div_ceil(shared::<T>(packed));
                    let mut ahead = Some(Ahead::new::<S>(packed, panel, next, T::A * T::A * tiles / MR));
                    for i in 0..T::A {
                        let channels = range.clone();
                        Transform::<T> { packed, panel, channels, rows: i..i + 1, u, plane: u_plane, streamed: false, tile: PhantomData }.run::<S>();
                        for l in 0..T::A {
                            let m = m.add((i * T::A + l) * m_plane);
                            task.multiply::<S>(i * T::A + l, range.clone(), u.add(l * u_plane), m, &mut ahead);
                        }
                    }
                }
            }
        }
        task.back::<S>(panel, m, m_plane);
        S::fence()
    }
}

/// The size of equal parts of `total`, none above `limit`.
fn even(total: usize, limit: usize) -> usize {
    total.div_ceil(total.div_ceil(limit))
}

impl<T: Tile> Output<'_, T> {
    /// M += V x U of one position for some channels, whose U is at `u`. A ragged last group of rows is multiplied whole: V has room, and M's extra rows are not used.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, position: usize, channels: Range<usize>, u: *const f32, m: *mut f32, ahead: &mut Option<Ahead>) {
        let Shape { body, v, v_plane, v_stride, .. } = self.shape;
        let vectors = body.packed.panels[self.panel].vectors;
        let kernel = T::UNIT.kernels::<S>()[vectors - 1][MR - 1];
        let v = v.get().cast_const().add(position * v_plane + self.start * v_stride);
        let run = Run { set: 0, k0: channels.start, len: channels.len() };
        for i in (0..self.count).step_by(MR) {
            let mut rows = [std::ptr::null::<f32>(); 2 * MR];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = v.wrapping_add((i + r) * v_stride);
            }
            let c = m.add(i * vectors * S::LANES);
            kernel(&gemm::Call { first: run.k0 == 0, ..gemm::Call::new(&rows, &run, u, c) });
            if let Some(ahead) = ahead {
                ahead.fetch::<S>();
            }
        }
    }

    /// Y = A^T M A, finished.
    #[inline(always)]
    unsafe fn back<S: Simd>(&self, panel: &Panel, m: *const f32, m_plane: usize) {
        let Shape { size, tiles, .. } = self.shape;
        let width = panel.vectors * S::LANES;
        let mut t = [[S::splat(0.0); 8]; 8];
        for i in 0..self.count {
            let tile = self.first + i;
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
    }
}

/// The taps of the next channels, fetched a few cache lines with every kernel call: while they are transformed nothing else could go on.
struct Ahead<'a> {
    packed: &'a Packed,
    panel: &'a Panel,
    channels: Range<usize>,
    tap: usize,
    /// What is left of a tap's channels.
    line: *const u8,
    end: *const u8,
    /// Lines with every call.
    step: usize,
}

impl<'a> Ahead<'a> {
    /// These channels, within so many calls.
    fn new<S: Simd>(packed: &'a Packed, panel: &'a Panel, channels: Range<usize>, calls: usize) -> Self {
        let bytes = 9 * channels.len() * panel.vectors * S::LANES * packed.memory().1;
        Self { packed, panel, channels, tap: 0, line: std::ptr::null(), end: std::ptr::null(), step: bytes.div_ceil(LINE * calls) }
    }

    #[inline(always)]
    unsafe fn fetch<S: Simd>(&mut self) {
        if self.line >= self.end {
            self.turn::<S>()
        }
        for _ in 0..self.step {
            S::prefetch_far(self.line.cast());
            self.line = self.line.wrapping_add(LINE);
        }
    }

    /// On to the next tap.
    unsafe fn turn<S: Simd>(&mut self) {
        if self.channels.is_empty() {
            self.step = 0;
            return;
        }
        let (start, bytes) = self.packed.memory();
        let slice = self.packed.slice(self.panel, S::LANES, &self.channels);
        self.line = start.wrapping_add(bytes * (slice.at + self.tap * slice.between));
        self.end = self.line.wrapping_add(bytes * slice.channels * self.panel.vectors * S::LANES);
        self.tap = (self.tap + 1) % 9;
        if self.tap == 0 {
            self.channels.start += slice.channels;
        }
    }
}
