use crate::buffer::{dense, output, View};
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use candle_core::{Result, Tensor};

/// Elements per task; below, one thread is faster.
const STEP: usize = 1 << 15;

/// Swaps the two inner dimensions of (batch, rows, columns) into `shape`, in x's dtype.
pub(super) fn transpose(level: Level, x: &Tensor, (batch, rows, columns): (usize, usize, usize), shape: [usize; 4]) -> Result<Tensor> {
    let input = dense(x)?;
    let view = View::new(&input);
    let values = view.slice()?;
    // The longer side is cut: a task takes some rows or some columns of a sample.
    let by_rows = rows > columns;
    let (long, short) = if by_rows { (rows, columns) } else { (columns, rows) };
    let step = STEP.div_ceil(short.max(1)).next_multiple_of(16);
    let parts = long.div_ceil(step);
    let run = |out: Shared<f32>| {
        pool::run(batch * parts, |i| {
            let (sample, first) = (i / parts, i % parts * step);
            let count = step.min(long - first);
            let (row, column) = if by_rows { (first, 0) } else { (0, first) };
            let (height, width) = if by_rows { (count, columns) } else { (rows, count) };
            let task = Transpose {
                from: values[sample * rows * columns + row * columns + column..].as_ptr(),
                from_stride: columns,
                // SAFETY: inside the sample's output; tasks write disjoint blocks.
                to: unsafe { out.get().add(sample * rows * columns + column * rows + row) },
                to_stride: rows,
                rows: height,
                columns: width,
            };
            dispatch(level, task)
        })
    };
    // SAFETY: the tasks cover every row and column.
    unsafe { output(shape.as_slice(), run) }?.to_dtype(x.dtype())
}

struct Transpose {
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    rows: usize,
    columns: usize,
}

impl Task for Transpose {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { from, from_stride, to, to_stride, rows, columns } = self;
        let (whole_rows, whole_columns) = (rows / S::LANES * S::LANES, columns / S::LANES * S::LANES);
        for j in (0..whole_columns).step_by(S::LANES) {
            for i in (0..whole_rows).step_by(S::LANES) {
                S::transpose(from.add(i * from_stride + j), from_stride, to.add(j * to_stride + i), to_stride);
            }
        }
        for j in 0..columns {
            let start = if j < whole_columns { whole_rows } else { 0 };
            for i in start..rows {
                *to.add(j * to_stride + i) = *from.add(i * from_stride + j);
            }
        }
    }
}
