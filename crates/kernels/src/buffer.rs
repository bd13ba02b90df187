//! Memory for packed weights, scratch and outputs.

use crate::simd::Shared;
use crate::Weight;
use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};
use std::alloc::{alloc, alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ops::{Deref, DerefMut};
use std::sync::RwLockReadGuard;

/// From this size on a buffer asks for huge pages: a page fault costs more than filling the page.
const HUGE: usize = 1 << 21;

/// A buffer of f32, u32 or u16, aligned to 64 bytes (to 2 MiB when that large).
pub(crate) struct Buffer<T> {
    ptr: *mut T,
    len: usize,
    layout: Layout,
}

// SAFETY: it owns plain numbers.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Buffer<T> {}

/// Number types of which zero bytes are a value.
pub(crate) trait Number: Copy {}
impl Number for f32 {}
impl Number for u32 {}
impl Number for u16 {}

impl<T: Number> Buffer<T> {
    pub fn zeroed(len: usize) -> Self {
        // SAFETY: zero bytes are a number.
        unsafe { Self::allocated(len, alloc_zeroed) }
    }

    /// With whatever numbers its memory held, for whoever writes all of them.
    pub fn unfilled(len: usize) -> Self {
        // SAFETY: numbers of any bits are numbers.
        unsafe { Self::allocated(len, alloc) }
    }

    unsafe fn allocated(len: usize, allocate: unsafe fn(Layout) -> *mut u8) -> Self {
        let bytes = std::mem::size_of::<T>().saturating_mul(len).max(64);
        let align = if bytes >= HUGE { HUGE } else { 64 };
        let layout = Layout::from_size_align(bytes, align).unwrap_or(Layout::new::<T>());
        // SAFETY: the layout has a non-zero size.
        let ptr = unsafe { allocate(layout) }.cast::<T>();
        if ptr.is_null() || layout.size() < bytes {
            handle_alloc_error(layout)
        }
        #[cfg(target_os = "linux")]
        if align == HUGE {
            // SAFETY: advises whole pages of the buffer just allocated.
            unsafe { libc::madvise(ptr.cast(), bytes / HUGE * HUGE, libc::MADV_HUGEPAGE) };
        }
        Self { ptr, len, layout }
    }

    /// At least `len` elements, kept from before where there were as many; otherwise zeroed.
    pub fn at_least(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            *self = Self::zeroed(len);
        }
        &mut self[..len]
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { ptr: std::ptr::NonNull::dangling().as_ptr(), len: 0, layout: Layout::new::<()>() }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated with this layout in `zeroed`.
            unsafe { dealloc(self.ptr.cast(), self.layout) }
        }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements live at `ptr`.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

/// The tensor as contiguous f32; free where it already is.
pub(crate) fn dense(x: &Tensor) -> Result<Tensor> {
    // A checkpoint has a billion numbers; candle converts one after the other.
    let is_half = matches!(x.dtype(), DType::F16 | DType::BF16);
    if is_half && x.elem_count() >= PART && x.device().is_cpu() && x.is_contiguous() {
        return Weight::from(x).to_f32();
    }
    x.to_dtype(DType::F32)?.contiguous()
}

/// Numbers of a tensor that one task fills.
const PART: usize = 1 << 16;

/// An f32 tensor filled by all threads: `part(at, to)` writes its numbers from `at` on.
pub(crate) fn fill(shape: Shape, part: impl Fn(usize, &mut [f32]) + Sync + Send) -> Result<Tensor> {
    let count = shape.elem_count();
    let task = |out: Shared<f32>| {
        crate::pool::run(count.div_ceil(PART), |i| {
            let range = i * PART..count.min((i + 1) * PART);
            // SAFETY: the parts do not overlap and lie inside the output, whose numbers are plain.
            part(range.start, unsafe { std::slice::from_raw_parts_mut(out.get().add(range.start), range.len()) })
        })
    };
    // SAFETY: the parts cover all numbers.
    unsafe { output(shape, task) }
}

/// The numbers of a tensor as f32.
pub(crate) fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    dense(x)?.flatten_all()?.to_vec1()
}

/// A read lock on the numbers of a tensor made by [`dense`].
pub(crate) struct View<'a> {
    storage: RwLockReadGuard<'a, Storage>,
    start: usize,
    len: usize,
}

impl<'a> View<'a> {
    pub fn new(x: &'a Tensor) -> Self {
        let (storage, layout) = x.storage_and_layout();
        Self { storage, start: layout.start_offset(), len: x.elem_count() }
    }

    pub fn slice(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => Ok(&data[self.start..self.start + self.len]),
            _ => candle_core::bail!("Expected an f32 tensor on the CPU"),
        }
    }
}

/// An output of `len` numbers of which `fill` must write every one; nothing is cleared before. In a dry run it is not filled.
///
/// # Safety
/// `fill` initialises all `len` elements when it returns Ok.
pub(crate) unsafe fn output<S: Into<Shape>>(shape: S, fill: impl FnOnce(Shared<f32>)) -> Result<Tensor> {
    let shape = shape.into();
    let len = shape.elem_count();
    let mut data = Vec::<f32>::with_capacity(len);
    if crate::dry::is_on() {
        // SAFETY: no instruction. For all the compiler knows it writes the numbers, so they are whatever is there, which costs no time for any size.
        unsafe { std::arch::asm!("/* {0} */", in(reg) data.as_mut_ptr(), options(nostack, preserves_flags)) };
    } else {
        fill(Shared::new(data.as_mut_ptr()));
    }
    // SAFETY: the caller's promise, or any bytes, which are numbers too.
    unsafe { data.set_len(len) };
    Tensor::from_vec(data, shape, &Device::Cpu)
}
