//! The register-blocked inner loop.

use super::schedule::Run;
use crate::simd::{Simd, Task};

/// Rows per register tile: six row pointers fit into general registers, so the rows may lie anywhere.
pub(crate) const MR: usize = 6;
/// Numbers of a cache line.
const LINE: usize = 16;
/// Numbers of the panel that are fetched before their turn: it streams from L2, faster than the CPU fetches by itself.
const AHEAD: usize = 8 * LINE;

/// What a lane of both operands holds.
pub(crate) trait Lane: 'static {
    /// Runs the task with the instructions of [`Lane::add`] enabled.
    unsafe fn enter<S: Simd, T: Task>(task: T) -> T::Output;
    /// `sum + a * b`
    unsafe fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V;
}

/// One number.
pub(crate) struct Float;

impl Lane for Float {
    #[inline(always)]
    unsafe fn enter<S: Simd, T: Task>(task: T) -> T::Output {
        S::enter(task)
    }
    #[inline(always)]
    unsafe fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::fma(a, b, sum)
    }
}

/// Arguments of one tile: `c[r][..] = (first ? start : c[r][..]) + sum over runs and their channels of rows[r] * b`.
pub(crate) struct Call {
    /// Row pointers of the first set; the tile's own and as many more, which are only prefetched.
    pub rows: *const *const f32,
    /// Pointers from one set to the next.
    pub set_stride: usize,
    pub runs: *const Run,
    pub run_count: usize,
    /// The packed chunk of one panel.
    pub b: *const f32,
    /// Rows as wide as the panel.
    pub c: *mut f32,
    pub first: bool,
    /// By column of the panel; null for zero.
    pub start: *const f32,
    /// Sums of bytes become numbers with the last chunk: times the scale of the row and of the column.
    pub scales: Option<(*const f32, *const f32)>,
    /// These rows were not read lately, so that those of the next tile are worth fetching.
    pub fresh: bool,
}

impl Call {
    /// Of one run of the rows at these pointers, which are fresh, from zero.
    pub fn new(rows: &[*const f32; 2 * MR], run: &Run, b: *const f32, c: *mut f32) -> Self {
        let start = std::ptr::null();
        Self { rows: rows.as_ptr(), set_stride: 0, runs: run, run_count: 1, b, c, first: true, start, scales: None, fresh: true }
    }
}

/// Instances by `[vectors - 1][rows - 1]`; those wider than the instruction set's panel are never called.
pub(crate) type Kernels = [[unsafe fn(&Call); MR]; 4];

struct Tile<'a, L, const M: usize, const NV: usize>(&'a Call, std::marker::PhantomData<L>);

impl<L: Lane, const M: usize, const NV: usize> Task for Tile<'_, L, M, NV> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Call { rows, set_stride, runs, run_count, b, c, first, start, scales, fresh } = *self.0;
        let width = NV * S::LANES;
        let mut acc = [[S::splat(0.0); NV]; M];
        if !first || !start.is_null() {
            for r in 0..M {
                let from = if first { start } else { c.add(r * width).cast_const() };
                for j in 0..NV {
                    acc[r][j] = S::load(from.add(j * S::LANES));
                }
            }
        }
        let mut bp = b;
        for i in 0..run_count {
            let run = &*runs.add(i);
            let pointers = rows.add(run.set * set_stride);
            let mut a = [std::ptr::null::<f32>(); M];
            for r in 0..M {
                a[r] = (*pointers.add(r)).add(run.k0);
            }
            if !fresh {
                bp = steps::<L, S, M, NV>(a, 0..run.len, bp, &mut acc);
                continue;
            }
            let mut q = 0;
            while q < run.len {
                for r in 0..M {
                    S::prefetch((*pointers.add(M + r)).wrapping_add(run.k0 + q));
                }
                let end = run.len.min(q + LINE);
                bp = steps::<L, S, M, NV>(a, q..end, bp, &mut acc);
                q = end;
            }
        }
        for r in 0..M {
            for j in 0..NV {
                let mut sum = acc[r][j];
                if let Some((rows, columns)) = scales {
                    let factor = S::mul(S::splat(*rows.add(r)), S::load(columns.add(j * S::LANES)));
                    sum = S::mul(S::from_i32(sum), factor);
                }
                S::store(c.add(r * width + j * S::LANES), sum);
            }
        }
    }
}

/// Adds the products of some channels, and returns where b goes on.
#[inline(always)]
unsafe fn steps<L: Lane, S: Simd, const M: usize, const NV: usize>(
    a: [*const f32; M],
    channels: std::ops::Range<usize>,
    b: *const f32,
    acc: &mut [[S::V; NV]; M],
) -> *const f32 {
    let mut bp = b;
    for q in channels {
        let mut bv = [S::splat(0.0); NV];
        for j in 0..NV {
            bv[j] = S::load(bp.add(j * S::LANES));
        }
        for line in 0..(NV * S::LANES).div_ceil(LINE) {
            S::prefetch(bp.wrapping_add(AHEAD + line * LINE));
        }
        bp = bp.add(NV * S::LANES);
        for r in 0..M {
            let x = S::splat(*a[r].add(q));
            for j in 0..NV {
                acc[r][j] = L::add::<S>(x, bv[j], acc[r][j]);
            }
        }
    }
    bp
}

unsafe fn tile<L: Lane, S: Simd, const M: usize, const NV: usize>(call: &Call) {
    L::enter::<S, _>(Tile::<L, M, NV>(call, std::marker::PhantomData))
}

/// The instances for an instruction set.
pub(crate) fn kernels<L: Lane, S: Simd>() -> &'static Kernels {
    const {
        &[
            [tile::<L, S, 1, 1>, tile::<L, S, 2, 1>, tile::<L, S, 3, 1>, tile::<L, S, 4, 1>, tile::<L, S, 5, 1>, tile::<L, S, 6, 1>],
            [tile::<L, S, 1, 2>, tile::<L, S, 2, 2>, tile::<L, S, 3, 2>, tile::<L, S, 4, 2>, tile::<L, S, 5, 2>, tile::<L, S, 6, 2>],
            [tile::<L, S, 1, 3>, tile::<L, S, 2, 3>, tile::<L, S, 3, 3>, tile::<L, S, 4, 3>, tile::<L, S, 5, 3>, tile::<L, S, 6, 3>],
            [tile::<L, S, 1, 4>, tile::<L, S, 2, 4>, tile::<L, S, 3, 4>, tile::<L, S, 4, 4>, tile::<L, S, 5, 4>, tile::<L, S, 6, 4>],
        ]
    }
}
