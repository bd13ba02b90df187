//! 3x3 convolution by Winograd's F(m x m, 3 x 3): input tiles of (m + 2)^2 pixels are transformed per channel, the products over channels are matrix products
//! of the GEMM's micro-kernel, and each result tile is transformed back. Multiplications per pixel: 9 direct, 4 for m = 2, 2.25 for 4, 1.78 for 6.
//!
//! Work is cut so that nothing large travels far: a chunk of tiles is transformed into V (shared, in L3), then each task takes one panel of output channels and a
//! slice of the chunk's tiles, multiplies all positions into a private M (in L2) and transforms M back. V is `[position][tile][channel]`, M
//! `[position][tile][column]`; positions are an odd number of cache lines apart, because multiples of 4 KiB would fall into the same cache sets.

mod run;
mod transforms;

pub(super) use transforms::{Tile, F2, F4, F6};

use super::cpu::{Body, Call};
use super::{Conv2dConfig, Padding};
use crate::buffer::Buffer;
use crate::gemm::Packed;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use std::cell::RefCell;
use std::marker::PhantomData;
use transforms::weight;

thread_local! {
    /// Memory of weights that are used once.
    static U: RefCell<Buffer<f32>> = RefCell::default();
}

/// The form that serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F2,
    F4,
    F6,
}

/// Which form pays for this call, if any: larger tiles save more products and need larger images and more memory for weights.
pub(super) fn choose(body: &Body, call: &Call) -> Option<Kind> {
    let (n, channels, kh, kw) = body.shape;
    let stride_one = matches!(body.config, Conv2dConfig { stride: 1, padding: Padding::Same(1) });
    if (kh, kw) != (3, 3) || !stride_one || crate::cpu::saves_memory() {
        return None;
    }
    let side = call.grid.output.0.min(call.grid.output.1);
    match (side, channels.min(n)) {
        (128.., 64..) => Some(Kind::F6),
        (28.., 16..) => Some(Kind::F4),
        // Here the weights are most of the traffic.
        (12.., 256..) => Some(Kind::F2),
        (12.., 16..) => Some(Kind::F4),
        _ => None,
    }
}

/// Transformed weights U: `[position][panel][channel][column]`.
pub(super) struct Winograd<T> {
    u: Buffer<f32>,
    /// Numbers per position.
    plane: usize,
    tile: PhantomData<T>,
}

impl<T: Tile> Winograd<T> {
    /// From the packed 3x3 weights, whose panels it keeps.
    pub fn new(body: &Body) -> Self {
        Self::within(Buffer::default(), body)
    }

    /// Uses the weights once and drops them; their memory stays for the next ones, since fresh pages cost more than the transform.
    pub fn once(body: &Body, f: impl FnOnce(&Self)) {
        let made = Self::within(U.take(), body);
        f(&made);
        U.set(made.u);
    }

    fn within(mut u: Buffer<f32>, body: &Body) -> Self {
        let packed = &body.packed;
        let plane = packed.k / 9 * packed.columns();
        if u.len() < T::A * T::A * plane {
            drop(std::mem::take(&mut u));
            u = Buffer::unfilled(T::A * T::A * plane);
        }
        let to = Shared::new(u.as_mut_ptr());
        pool::run(packed.panels.len(), |panel| dispatch(packed.level, Transform::<T> { packed, panel, u: to, plane, tile: PhantomData }));
        Self { u, plane, tile: PhantomData }
    }

    /// Memory that the weights of a convolution take in this form.
    pub fn size(body: &Body) -> usize {
        4 * T::A * T::A * (body.packed.k / 9) * body.packed.columns()
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        4 * self.u.len()
    }
}

/// U = G g G^T for one panel.
struct Transform<'a, T> {
    packed: &'a Packed,
    panel: usize,
    u: Shared<f32>,
    plane: usize,
    tile: PhantomData<T>,
}

impl<T: Tile> Task for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let panel = &self.packed.panels[self.panel];
        let (channels, width) = (self.packed.k / 9, panel.vectors * S::LANES);
        let to = self.u.get().add(panel.offset * channels);
        for k in 0..channels {
            for j in (0..width).step_by(S::LANES) {
                let zero = S::splat(0.0);
                let mut half = [[zero; 3]; 8];
                for x in 0..3 {
                    let mut column = [zero; 3];
                    for (y, value) in column.iter_mut().enumerate() {
                        *value = self.packed.vector::<S>(panel, 3 * y + x, k, j);
                    }
                    let column = weight::<S, T>(column);
                    for i in 0..T::A {
                        half[i][x] = column[i];
                    }
                }
                for (i, row) in half.iter().enumerate().take(T::A) {
                    let row = weight::<S, T>(*row);
                    for (l, value) in row.iter().enumerate().take(T::A) {
                        // Past the caches, which hold less than a large layer's weights; panels are whole vectors.
                        S::stream(to.add((i * T::A + l) * self.plane + k * width + j), *value);
                    }
                }
            }
        }
        S::fence()
    }
}
