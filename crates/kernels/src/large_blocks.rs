//! Memory of large blocks, as weights and activations are: mapped from the system, cut to measure, and kept for the next blocks when they are freed.
//!
//! A general allocator keeps such blocks in sizes of its own, each thread its freed ones, which no later block may fit into. Here freed neighbours join, and what
//! nothing fits into goes back to the system before more is mapped, so that resident memory exceeds the most that was in use by little; below that most, nothing
//! goes back while work goes on.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller blocks are the inner allocator's.
const LARGE: usize = 1 << 20;
/// Blocks are multiples of it.
const GRAIN: usize = 1 << 16;
/// Size and alignment of a huge page; a page fault costs more than filling the page.
const HUGE: usize = 1 << 21;
/// Bytes that may be mapped beyond the most that was in use: blocks come and go in other orders than they lie.
const SPARE: usize = 64 << 20;
/// Bytes that go back to the system in one call: whoever maps memory meanwhile waits for it, and gigabytes take a good part of a second.
const PIECE: usize = 64 << 20;

/// An allocator that leaves small blocks to another one; large ones come from the system where that is Linux.
pub struct LargeBlocks<A> {
    inner: A,
    free: Mutex<Free>,
}

impl<A> LargeBlocks<A> {
    /// Around the allocator of small blocks.
    pub const fn new(inner: A) -> Self {
        Self { inner, free: Mutex::new(Free { blocks: BTreeMap::new(), bytes: 0, used: 0, most: 0 }) }
    }

    /// Gives all free blocks back to the system, while other threads may take and free blocks.
    pub fn release(&self) {
        let mut free = self.free();
        free.most = free.used;
        let blocks = free.surplus(0);
        drop(free);
        give_back(&blocks);
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block and whether it is all zeros; null if the system has none.
    fn take(&self, layout: Layout) -> (*mut u8, bool) {
        let size = rounded(layout);
        let mut free = self.free();
        let found = free.take(size, layout.align());
        free.used += size;
        free.most = free.most.max(free.used);
        if let Some(start) = found {
            return (start as *mut u8, false);
        }
        let room = free.most + SPARE - free.used;
        let blocks = free.surplus(room);
        drop(free);
        give_back(&blocks);
        let align = layout.align().max(if size >= HUGE { HUGE } else { 1 });
        let mapped = map(size, align).or_else(|| {
            let blocks = self.free().surplus(0);
            give_back(&blocks);
            map(size, align)
        });
        if mapped.is_none() {
            self.free().used -= size;
        }
        (mapped.map_or(std::ptr::null_mut(), |start| start as *mut u8), true)
    }
}

/// Unmaps blocks, given by length and start, that are in use nowhere and in no list.
fn give_back(blocks: &[(usize, usize)]) {
    for &(len, start) in blocks {
        for from in (0..len).step_by(PIECE) {
            unmap(start + from, PIECE.min(len - from));
        }
    }
}

fn is_large(layout: Layout) -> bool {
    cfg!(target_os = "linux") && layout.size() >= LARGE
}

fn rounded(layout: Layout) -> usize {
    layout.size().saturating_add(GRAIN - 1) / GRAIN * GRAIN
}

// SAFETY: small blocks are the inner allocator's; large ones are mapped memory that is in use once, and a layout tells which a block is.
unsafe impl<A: GlobalAlloc> GlobalAlloc for LargeBlocks<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return self.take(layout).0;
        }
        self.inner.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            return self.inner.alloc_zeroed(layout);
        }
        let (block, is_zero) = self.take(layout);
        if !is_zero {
            block.write_bytes(0, layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) {
            let mut free = self.free();
            free.used -= rounded(layout);
            free.put(block as usize, rounded(layout));
        } else {
            self.inner.dealloc(block, layout);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let wanted = Layout::from_size_align_unchecked(size, layout.align());
        if !is_large(layout) && !is_large(wanted) {
            return self.inner.realloc(block, layout, size);
        }
        let moved = self.alloc(wanted);
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(block, layout.size().min(size));
            self.dealloc(block, layout);
        }
        moved
    }
}

/// Mapped memory that nothing uses: start to length, neighbours joined.
struct Free {
    blocks: BTreeMap<usize, usize>,
    bytes: usize,
    /// Bytes of the blocks in use, and the most of them since the last release.
    used: usize,
    most: usize,
}

impl Free {
    /// Cuts a block out of the smallest one that has room for it.
    fn take(&mut self, size: usize, align: usize) -> Option<usize> {
        let first = |start: usize| start.next_multiple_of(align);
        let fitting = self.blocks.iter().filter(|(&start, &len)| first(start) + size <= start + len);
        let (&start, &len) = fitting.min_by_key(|(_, &len)| len)?;
        self.remove(start, len);
        let taken = first(start);
        for (from, to) in [(start, taken), (taken + size, start + len)] {
            if to > from {
                self.insert(from, to - from);
            }
        }
        Some(taken)
    }

    /// Joins a block with its neighbours.
    fn put(&mut self, mut start: usize, mut len: usize) {
        if let Some((&before, &own)) = self.blocks.range(..start).next_back().filter(|(&before, &own)| before + own == start) {
            self.remove(before, own);
            (start, len) = (before, own + len);
        }
        if let Some(&after) = self.blocks.get(&(start + len)) {
            self.remove(start + len, after);
            len += after;
        }
        self.insert(start, len);
    }

    /// Takes out blocks, the smallest first, until at most so many bytes are left: length and start of each, to be given back without the lock.
    fn surplus(&mut self, most: usize) -> Vec<(usize, usize)> {
        if self.bytes <= most {
            return Vec::new();
        }
        let mut blocks: Vec<(usize, usize)> = self.blocks.iter().map(|(&start, &len)| (len, start)).collect();
        blocks.sort_unstable();
        let mut gone = 0;
        while self.bytes > most && gone < blocks.len() {
            let (len, start) = blocks[gone];
            self.remove(start, len);
            gone += 1;
        }
        blocks.truncate(gone);
        blocks
    }

    fn insert(&mut self, start: usize, len: usize) {
        self.blocks.insert(start, len);
        self.bytes += len;
    }

    fn remove(&mut self, start: usize, len: usize) {
        self.blocks.remove(&start);
        self.bytes -= len;
    }
}

#[cfg(target_os = "linux")]
fn map(size: usize, align: usize) -> Option<usize> {
    const PAGE: usize = 1 << 12;
    let spare = if align > PAGE { align } else { 0 };
    let whole = size.checked_add(spare)?;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: new memory at an address of the system's choice.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), whole, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    let (from, start) = (mapped as usize, (mapped as usize).next_multiple_of(align.max(1)));
    for (left, right) in [(from, start), (start + size, from + whole)] {
        if right > left {
            unmap(left, right - left);
        }
    }
    if size >= HUGE {
        // SAFETY: advises what was just mapped.
        unsafe { libc::madvise(start as *mut libc::c_void, size, libc::MADV_HUGEPAGE) };
    }
    Some(start)
}

#[cfg(target_os = "linux")]
fn unmap(start: usize, len: usize) {
    // SAFETY: memory that `map` gave, in use nowhere.
    unsafe { libc::munmap(start as *mut libc::c_void, len) };
}

#[cfg(not(target_os = "linux"))]
fn map(_size: usize, _align: usize) -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
fn unmap(_start: usize, _len: usize) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::alloc::System;

    const MIB: usize = 1 << 20;

    fn layout(mib: usize, align: usize) -> Layout {
        Layout::from_size_align(mib * MIB, align).unwrap()
    }

    #[test]
    fn a_freed_block_serves_smaller_ones_and_joins_again() {
        let blocks = LargeBlocks::new(System);
        // SAFETY: every block is freed once, with its layout.
        unsafe {
            let whole = blocks.alloc(layout(12, 4));
            blocks.dealloc(whole, layout(12, 4));
            let parts: Vec<_> = (0..4).map(|_| blocks.alloc(layout(3, 4))).collect();
            assert!(parts.iter().all(|part| (whole as usize..whole as usize + 12 * MIB).contains(&(*part as usize))));
            assert_eq!(blocks.free().bytes, 0);
            for i in [2, 0, 3, 1] {
                blocks.dealloc(parts[i], layout(3, 4));
            }
            assert_eq!(blocks.free().blocks.len(), 1);
            assert_eq!(blocks.alloc(layout(12, 4)), whole);
        }
    }

    #[test]
    fn what_nothing_fits_into_goes_back_before_more_is_mapped_than_was_ever_in_use() {
        let blocks = LargeBlocks::new(System);
        // SAFETY: as above.
        unsafe {
            let large: Vec<_> = (0..3).map(|_| (blocks.alloc(layout(100, 4)), blocks.alloc(layout(1, 4)))).collect();
            for &(block, _) in &large {
                blocks.dealloc(block, layout(100, 4));
            }
            // 303 MiB were in use: beside 104 there is room for most of what is free.
            let other = blocks.alloc(layout(101, 4));
            blocks.dealloc(other, layout(101, 4));
            assert!(blocks.free().bytes >= 300 * MIB, "{}", blocks.free().bytes);
            let larger = blocks.alloc(layout(350, 4));
            assert!(blocks.free().bytes <= SPARE, "{}", blocks.free().bytes);
            blocks.dealloc(larger, layout(350, 4));
            for (_, between) in large {
                blocks.dealloc(between, layout(1, 4));
            }
            blocks.release();
            let Free { bytes, used, most, .. } = &*blocks.free();
            assert_eq!((*bytes, *used, *most), (0, 0, 0));
        }
    }

    #[test]
    fn blocks_are_aligned_cleared_on_demand_and_keep_their_numbers_when_they_grow() {
        let blocks = LargeBlocks::new(System);
        // SAFETY: written and read inside the blocks; freed with the layout that they have last.
        unsafe {
            let block = blocks.alloc(layout(3, HUGE));
            assert_eq!(block as usize % HUGE, 0);
            block.write_bytes(7, 3 * MIB);
            let block = blocks.realloc(block, layout(3, HUGE), 5 * MIB);
            assert_eq!((*block.add(3 * MIB - 1), block as usize % HUGE), (7, 0));
            blocks.dealloc(block, layout(5, HUGE));
            let block = blocks.alloc_zeroed(layout(5, 4));
            assert!(std::slice::from_raw_parts(block, 5 * MIB).iter().all(|&byte| byte == 0));
            let small = blocks.realloc(block, layout(5, 4), 64);
            assert_eq!(*small, 0);
            blocks.dealloc(small, Layout::from_size_align(64, 4).unwrap());
        }
    }
}
