//! Which pixel each tap of each output position reads.

use super::reference::nearest;
use super::Conv2dConfig;
use crate::gemm::Rows;

/// Sizes of a convolution, (height, width) each.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub batch: usize,
    pub input: (usize, usize),
    /// What the input is resized to before the convolution.
    pub resize: Option<(usize, usize)>,
    pub output: (usize, usize),
}

/// No pixel: padding.
pub(super) const OUTSIDE: usize = usize::MAX;

/// Row pointers of an implicit GEMM; set = source * taps + tap.
pub(super) struct Pixels<'a> {
    pub sources: &'a [(&'a [f32], usize)],
    /// One per output pixel, where channels are bytes.
    scales: *const f32,
    pub zeros: *const f32,
    pub grid: Grid,
    taps: usize,
    kernel_width: usize,
    /// Input row at `[tap row][output row]`, input column at `[tap column][output column]`.
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
}

// SAFETY: `zeros` and `scales` point into buffers that outlive it and are only read.
unsafe impl Sync for Pixels<'_> {}

impl<'a> Pixels<'a> {
    pub fn new(sources: &'a [(&'a [f32], usize)], grid: &Grid, kernel: (usize, usize), config: Conv2dConfig, zeros: &'a [f32]) -> Self {
        let (top, left, _, _) = config.padding.sides();
        let resized = grid.resize.unwrap_or(grid.input);
        let axis = |kernel: usize, output: usize, before: usize, resized: usize, input: usize| -> Vec<usize> {
            let positions = (0..kernel).flat_map(|tap| (0..output).map(move |i| (i * config.stride + tap).wrapping_sub(before)));
            positions.map(|at| if at < resized { nearest(at, input, resized) } else { OUTSIDE }).collect()
        };
        Self {
            sources,
            scales: std::ptr::null(),
            zeros: zeros.as_ptr(),
            grid: *grid,
            taps: kernel.0 * kernel.1,
            kernel_width: kernel.1,
            rows: axis(kernel.0, grid.output.0, top, resized.0, grid.input.0),
            columns: axis(kernel.1, grid.output.1, left, resized.1, grid.input.1),
        }
    }
}

impl<'a> Pixels<'a> {
    /// With the scales of the output pixels.
    pub fn scaled(self, scales: *const f32) -> Self {
        Self { scales, ..self }
    }

    /// Rows and columns by padded position instead, up to `extent`; what lies beyond the padding is outside as well.
    pub fn tiled(sources: &'a [(&'a [f32], usize)], grid: &Grid, extent: (usize, usize), config: Conv2dConfig, zeros: &'a [f32]) -> Self {
        Self::new(sources, &Grid { output: extent, ..*grid }, (1, 1), config, zeros)
    }
}

impl Rows for Pixels<'_> {
    fn fill(&self, set: usize, first: usize, out: &mut [*const f32]) {
        let ((data, channels), tap) = (self.sources[set / self.taps], set % self.taps);
        let ((height, width), (in_height, in_width)) = (self.grid.output, self.grid.input);
        let rows = &self.rows[tap / self.kernel_width * height..];
        let columns = &self.columns[tap % self.kernel_width * width..][..width];
        let (mut b, mut y, mut x) = (first / (height * width), first / width % height, first % width);
        let mut out = out;
        while !out.is_empty() {
            let (line, rest) = out.split_at_mut((width - x).min(out.len()));
            if rows[y] == OUTSIDE {
                line.fill(self.zeros);
            } else {
                let base = data.as_ptr().wrapping_add((b * in_height + rows[y]) * in_width * channels);
                for (p, &column) in line.iter_mut().zip(&columns[x..]) {
                    *p = if column == OUTSIDE { self.zeros } else { base.wrapping_add(column * channels) };
                }
            }
            (out, x, y) = (rest, 0, y + 1);
            if y == height {
                (y, b) = (0, b + 1);
            }
        }
    }

    fn scales(&self) -> *const f32 {
        self.scales
    }
}
