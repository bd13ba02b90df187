//! Queries into lanes and results back out of them.

use crate::simd::Simd;

/// Queries times `factor` as a panel `[dim][width]`, zeros where there are none.
#[inline(always)]
pub(super) unsafe fn pack_queries<S: Simd>(
    q: *const f32,
    stride: usize,
    count: usize,
    (dim, padded, width): (usize, usize, usize),
    factor: f32,
    rows: *mut f32,
    panel: *mut f32,
) {
    for i in 0..width {
        let to = rows.add(i * padded);
        if i < count {
            copy::<S>(q.add(i * stride), to, dim, factor);
        } else {
            for j in (0..padded).step_by(S::LANES) {
                S::store(to.add(j), S::splat(0.0));
            }
        }
    }
    transpose_blocks::<S>(rows, padded, panel, width, width, padded);
}

/// Transposes (height, length), both multiples of the lanes.
#[inline(always)]
pub(super) unsafe fn transpose_blocks<S: Simd>(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, height: usize, length: usize) {
    for i in (0..height).step_by(S::LANES) {
        for j in (0..length).step_by(S::LANES) {
            S::transpose(from.add(i * from_stride + j), from_stride, to.add(j * to_stride + i), to_stride);
        }
    }
}

/// `to[..n] = from[..n] * factor`
#[inline(always)]
pub(super) unsafe fn copy<S: Simd>(from: *const f32, to: *mut f32, n: usize, factor: f32) {
    let (whole, factor) = (n / S::LANES * S::LANES, S::splat(factor));
    let mut i = 0;
    while i < whole {
        S::store(to.add(i), S::mul(S::load(from.add(i)), factor));
        i += S::LANES;
    }
    S::store_part(to.add(i), S::mul(S::load_part(from.add(i), n - whole), factor), n - whole);
}
