//! How much memory native code holds, counted where it is allocated.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Smaller blocks are not counted: they are many and come to little.
const COUNTED: usize = 1 << 14;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// An allocator that counts what it hands out; make it the global one.
pub struct Counting<A>(pub A);

/// Bytes in use now.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// The most bytes in use at once since [`reset_peak`].
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}

/// Begins a new peak at what is in use now.
pub fn reset_peak() {
    PEAK.store(live(), Relaxed);
}

fn taken(bytes: usize) {
    if bytes >= COUNTED {
        PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

fn given_back(bytes: usize) {
    if bytes >= COUNTED {
        LIVE.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: everything is the inner allocator's doing.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        self.0.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        self.0.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        given_back(layout.size());
        self.0.dealloc(block, layout)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given_back(layout.size());
        taken(size);
        self.0.realloc(block, layout, size)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::alloc::System;

    #[test]
    fn large_blocks_are_counted_until_they_are_freed() {
        let (counting, layout) = (Counting(System), Layout::from_size_align(3 << 20, 64).unwrap());
        reset_peak();
        let before = live();
        // SAFETY: freed with the layout that it was last given.
        unsafe {
            let block = counting.alloc(layout);
            assert_eq!(live() - before, 3 << 20);
            let block = counting.realloc(block, layout, 5 << 20);
            counting.dealloc(block, Layout::from_size_align(5 << 20, 64).unwrap());
        }
        assert_eq!((live(), peak() - before), (before, 5 << 20));
    }
}
