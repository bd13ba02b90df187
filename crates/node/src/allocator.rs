//! The allocator of all native memory: it keeps pages while work goes on, so that a step maps nothing, and gives them back when there is none.

use nd_kernels::large_blocks::LargeBlocks;
use nd_kernels::memory::Counting;
use std::os::raw::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// glibc maps and unmaps big activations at every allocation, which costs more than computing them.
#[global_allocator]
static ALLOCATOR: Counting<LargeBlocks<mimalloc::MiMalloc>> = Counting(LargeBlocks::new(mimalloc::MiMalloc));

/// Time without work after which freed pages go back to the system: longer than anything between two steps of a run.
pub const IDLE: Duration = Duration::from_secs(2);

/// `mi_option_purge_delay`; the binding has no name for it. Source: mimalloc.h `mi_option_e`.
const PURGE_DELAY: c_int = 15;
/// Milliseconds; by its own clock mimalloc would give pages back in the middle of a step that takes seconds.
const NEVER: c_long = 1 << 30;

/// Called before the first large allocation; `MIMALLOC_PURGE_DELAY` takes precedence.
pub fn init() {
    // SAFETY: sets a number.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, NEVER) };
}

/// Gives all freed pages back to the system.
pub fn release_pages() {
    ALLOCATOR.0.release();
    // SAFETY: may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Whether steps have left pages behind since they were last given back.
static STEPPED: AtomicBool = AtomicBool::new(false);

/// Notes that a step runs.
pub fn note_step() {
    STEPPED.store(true, Relaxed);
}

/// Before a large decoding: gives back what the steps left, once, since images of other sizes would not fit into it and the two would add up.
pub fn release_after_steps() {
    if STEPPED.swap(false, Relaxed) {
        release_pages();
    }
}
