//! The one blocked matrix product: `C[m][n] = finish(sum over sets s and channels k of A_s[m][k] * B_s[k][n])`.
//!
//! A is read in place through row pointers, so the same driver serves linear layers (one set), implicit-GEMM convolutions (one set per tap) and
//! concatenated inputs (one set per source). B is packed once, see [`pack`]. Every element of C is summed in the order of the packed runs, whatever the number
//! of rows or threads, so results do not depend on either.

mod bytes;
mod finish;
mod lay;
pub(crate) mod pack;
mod pairs;
mod peak;
mod rounded;
mod rows;
mod schedule;
mod tile;
mod unit;

pub(crate) use bytes::zero_quad;
pub(crate) use finish::{Finish, Phase};
pub(crate) use pack::{Bf16, Data, Matrix, Packed, Panel, Stored, F16};
pub(crate) use pairs::{store_part, Pair};
pub(crate) use peak::peak;
pub use peak::Peak;
pub(crate) use rounded::rounded;
pub(crate) use rows::{Rows, Strided};
pub(crate) use schedule::Run;
use schedule::Schedule;
pub(crate) use tile::{Call, Float, Lane, MR};
pub(crate) use unit::Unit;

use crate::buffer::Buffer;
use crate::pool;
use crate::simd::{dispatch, Simd, Task};
use std::cell::RefCell;

/// Rows per task: with a chunk of channels they fill about half of L2. Measured flat between 96 and 384.
const ROWS: usize = 192;
/// Panels per task: their results wait in L2 between chunks.
const PANELS: usize = 10;
/// Multiply-adds below which waking another thread costs more than it saves.
const SERIAL: usize = 1 << 19;

#[derive(Default)]
struct Scratch {
    tiles: Buffer<f32>,
    wide: Buffer<f32>,
    pointers: Vec<*const f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How the result is cut into tasks.
struct Cut {
    rows: usize,
    panels: usize,
    row_blocks: usize,
    panel_blocks: usize,
}

impl Cut {
    fn new(m: usize, w: &Packed) -> Self {
        let threads = if m * w.k * w.n < SERIAL { 1 } else { pool::threads() };
        let total = w.panels.len();
        let (mut rows, mut panels) = (even(m, ROWS, MR), even(total, PANELS, 1));
        // Four tasks per thread level out their ends; cut the columns first, since that repeats only reads of A.
        let wanted = if threads > 1 { 4 * threads } else { 1 };
        while panels > 1 && m.div_ceil(rows) * total.div_ceil(panels) < wanted {
            panels = panels.div_ceil(2);
        }
        while rows > 4 * MR && m.div_ceil(rows) * total.div_ceil(panels) < wanted {
            rows = even(rows, rows / 2, MR);
        }
        Self { rows, panels, row_blocks: m.div_ceil(rows), panel_blocks: total.div_ceil(panels) }
    }
}

/// The size of equal parts of `total`, none above `limit`, in multiples of `unit`.
fn even(total: usize, limit: usize, unit: usize) -> usize {
    total.div_ceil(total.div_ceil(limit).max(1)).next_multiple_of(unit).max(unit)
}

/// Computes all `m` rows of the product and finishes them into `finish.out`.
pub(crate) fn gemm(a: &impl Rows, m: usize, w: &Packed, finish: &Finish) {
    gemm_by(a, m, w, &w.schedule, finish)
}

/// The same with row sets other than the packed ones, see [`Schedule::split`].
pub(crate) fn gemm_by(a: &impl Rows, m: usize, w: &Packed, schedule: &Schedule, finish: &Finish) {
    if m == 0 || w.n == 0 {
        return;
    }
    let cut = Cut::new(m, w);
    let task = |i: usize| {
        let (row_block, panel_block) = (i % cut.row_blocks, i / cut.row_blocks);
        let (first, panels) = (row_block * cut.rows, panel_block * cut.panels);
        SCRATCH.with_borrow_mut(|scratch| {
            let rows = cut.rows.min(m - first);
            let range = panels..w.panels.len().min(panels + cut.panels);
            dispatch(w.level, Block { a, w, schedule, finish, first, rows, panels: range, scratch })
        })
    };
    let tasks = cut.row_blocks * cut.panel_blocks;
    if m * w.k * w.n < SERIAL {
        (0..tasks).for_each(task)
    } else {
        pool::run(tasks, task)
    }
}

/// One task: some rows by some panels.
struct Block<'a, R> {
    a: &'a R,
    w: &'a Packed,
    schedule: &'a Schedule,
    finish: &'a Finish<'a>,
    first: usize,
    rows: usize,
    panels: std::ops::Range<usize>,
    scratch: &'a mut Scratch,
}

impl<R: Rows> Task for Block<'_, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { a, w, schedule, finish, first, rows, panels, scratch } = self;
        let kernels = w.unit().kernels::<S>();
        let width = S::LANES * S::PANEL;
        // The kernel prefetches the rows after its own, hence MR pointers more than rows.
        let stride = rows.next_multiple_of(MR) + MR;
        scratch.pointers.resize(schedule.sets * stride, std::ptr::null());
        for set in 0..schedule.sets {
            a.fill(set, first, &mut scratch.pointers[set * stride..][..rows]);
        }
        // A single chunk needs one tile only, which then stays in L1.
        let waiting = schedule.chunks.len() > 1;
        let held = if waiting { panels.len() * rows.next_multiple_of(MR) } else { MR };
        let tiles = scratch.tiles.at_least(held * width).as_mut_ptr();
        for (i, chunk) in schedule.chunks.iter().enumerate() {
            for p in panels.clone() {
                let panel = &w.panels[p];
                let b = w.chunk::<S>(panel, chunk, &mut scratch.wide);
                let mut r = 0;
                while r < rows {
                    let count = MR.min(rows - r);
                    let at = if waiting { (p - panels.start) * rows.next_multiple_of(MR) + r } else { 0 };
                    let tile = tiles.add(at * width);
                    let last = i + 1 == schedule.chunks.len();
                    let columns = w.columns_of_bytes.as_ref();
                    let scales = |columns: &bytes::Columns| (a.scales().add(first + r), columns.scales.as_ptr().add(panel.offset));
                    kernels[panel.vectors - 1][count - 1](&Call {
                        rows: scratch.pointers.as_ptr().add(r),
                        set_stride: stride,
                        runs: schedule.runs.as_ptr().add(chunk.runs.start),
                        run_count: chunk.runs.len(),
                        b,
                        c: tile,
                        first: i == 0,
                        start: columns.map_or(std::ptr::null(), |columns| columns.start.as_ptr().add(panel.offset)),
                        scales: columns.filter(|_| last).map(scales),
                        fresh: p == panels.start,
                    });
                    if last {
                        finish.store::<S>(panel, w.gated, first + r, count, tile);
                    }
                    r += count;
                }
            }
        }
    }
}
