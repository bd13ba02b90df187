//! Convolution of bytes: the direct method, with one scale per image. Resizing and concatenation are as in floats; there is no Winograd, whose transforms
//! would need more than eight bits.

use super::cpu::{Body, Call};
use super::pixels::Pixels;
use crate::gemm::{gemm, Finish, Quantised, Rows};
use std::cell::RefCell;

thread_local! {
    static IMAGES: RefCell<Quantised> = RefCell::default();
}

/// Pixels of images that were rounded together.
struct Rounded<'a> {
    pixels: Pixels<'a>,
    images: &'a Quantised,
}

impl Rows for Rounded<'_> {
    fn fill(&self, set: usize, first: usize, out: &mut [*const f32]) {
        self.pixels.fill(set, first, out)
    }

    fn scales(&self) -> *const f32 {
        self.images.scales()
    }
}

pub(super) fn run(body: &Body, call: &Call, finish: &Finish) {
    let (_, _, kh, kw) = body.shape;
    let rows = call.grid.batch * call.grid.output.0 * call.grid.output.1;
    // Taken out, not borrowed: while this thread waits for tasks it may start another call.
    let mut images = IMAGES.take();
    images.fill_images(body.packed.level, call.sources, call.grid.batch, rows);
    let source = [(images.quads(), images.stride)];
    let pixels = Pixels::new(&source, &call.grid, (kh, kw), body.config, &body.zeros);
    gemm(&Rounded { pixels, images: &images }, rows, &body.packed, finish);
    IMAGES.set(images);
}
