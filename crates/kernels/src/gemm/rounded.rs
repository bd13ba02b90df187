//! Rows of f32 rounded once per call to what a packed matrix multiplies, into memory that the next call takes over.

use super::{bytes, pairs, Packed, Unit, MR};
use crate::buffer::Buffer;
use crate::pool;
use crate::simd::Shared;
use std::cell::RefCell;

/// Numbers per task.
const STEP: usize = 1 << 15;
/// Lanes of a cache line, in which rows begin.
const LINE: usize = 16;

#[derive(Default)]
struct Memory {
    lanes: Buffer<f32>,
    scales: Buffer<f32>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Pixels of images, whose channels come from one or several sources, and the rounded rows that they become.
pub(super) struct Images<'a> {
    pub sources: &'a [(&'a [f32], usize)],
    /// Pixels of all images.
    pub count: usize,
    pub channels: usize,
    pub to: Shared<f32>,
    /// Lanes from one row to the next.
    pub stride: usize,
}

/// Calls `f` with what products of `packed` read in place of these pixels, and with the scale of each of the product's `rows` rows, if it has any: f32 is read as it is,
/// anything else is one source that is rounded here. Pixels of the same of `samples` images share a scale; a row of a linear layer is an image of one pixel.
pub(crate) fn rounded<R>(
    packed: &Packed,
    sources: &[(&[f32], usize)],
    samples: usize,
    rows: usize,
    f: impl FnOnce(&[(&[f32], usize)], *const f32) -> R,
) -> R {
    let unit = packed.unit();
    if unit == Unit::Float {
        return f(sources, std::ptr::null());
    }
    let channels: usize = sources.iter().map(|(_, width)| width).sum();
    let count = sources.first().map_or(0, |(data, width)| data.len() / width.max(&1));
    let stride = channels.div_ceil(unit.numbers()).next_multiple_of(LINE);
    // Taken out, not borrowed: while this thread waits for tasks it may start another call.
    let mut memory = MEMORY.take();
    // The tile prefetches the rows after its own.
    let to = Shared::new(memory.lanes.at_least((count + MR) * stride).as_mut_ptr());
    let images = Images { sources, count, channels, to, stride };
    match unit {
        Unit::Quad => bytes::round(packed.level, &images, samples, memory.scales.at_least(rows)),
        Unit::Pair | Unit::Float => pairs::round(packed.level, &images),
    }
    let result = f(&[(&memory.lanes, stride)], memory.scales.as_ptr());
    MEMORY.set(memory);
    result
}

impl Images<'_> {
    /// Calls `task(first, count)` for parts of the pixels, on the pool when they are many.
    pub fn each_part(&self, task: impl Fn(usize, usize) + Sync + Send) {
        let (rows, width) = (self.count, self.channels);
        let step = (STEP / width.max(1)).max(1);
        let part = |i: usize| task(i * step, step.min(rows - i * step));
        if rows * width < 2 * STEP {
            (0..rows.div_ceil(step)).for_each(part)
        } else {
            pool::run(rows.div_ceil(step), part)
        }
    }
}
