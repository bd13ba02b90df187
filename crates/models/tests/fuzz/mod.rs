//! What fuzzed readers of files share: odd numbers that are the same every time, and a bound on the memory that opening takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts live bytes and their peak, those of small blocks too.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What opening a small file may take beside twice its size: tables, paths, messages.
const SPARE: usize = 256 << 10;

/// Opens a file of `size` bytes, which may take twice as much memory. The counts are those of the whole process: one test for each program.
pub fn opened<T>(size: usize, open: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = open();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    assert!(taken <= 2 * size + SPARE, "opening {size} bytes took {taken}");
    result
}

/// Writes one file after the other and tells how many of them `look` can read.
pub fn readable(name: &str, files: impl Iterator<Item = Vec<u8>>, look: impl Fn(&Path, usize) -> bool) -> usize {
    let path = std::env::temp_dir().join(format!("nd-fuzz-{name}-{}", std::process::id()));
    let read = files.filter(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        look(&path, bytes.len())
    });
    let count = read.count();
    std::fs::remove_file(&path).unwrap();
    count
}

/// Numbers of a linear congruential generator (Knuth's MMIX), the same every time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
