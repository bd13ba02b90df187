//! The one thread pool that all native work shares.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, RwLock};

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Runs `f` inside the pool; candle's own parallel ops then use it too. Runs in place when already inside.
pub fn install<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    match current() {
        Some(pool) => pool.install(f),
        None => f(),
    }
}

thread_local! {
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with operations that keep to this thread. For small work on a thread that must not wait until a busy pool has time.
pub fn in_place<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_PLACE.set(self.0);
        }
    }
    let _restore = Restore(IN_PLACE.replace(true));
    f()
}

/// Replaces the pool by one of `n` threads, or of the default size for 0. Work that is under way finishes on the old one.
pub fn set_threads(n: usize) {
    let pool = build(n);
    if let Ok(mut slot) = POOL.write() {
        *slot = pool;
    }
}

/// Threads of the pool; by default the physical cores that this process may use.
pub fn threads() -> usize {
    current().map_or(1, |pool| pool.current_num_threads())
}

/// The pool, made on first use; none if the system refuses threads, in which case work runs in place.
fn current() -> Option<Arc<ThreadPool>> {
    if let Some(pool) = POOL.read().ok()?.as_ref() {
        return Some(pool.clone());
    }
    let mut slot = POOL.write().ok()?;
    if slot.is_none() {
        *slot = build(0);
    }
    slot.clone()
}

fn build(n: usize) -> Option<Arc<ThreadPool>> {
    let n = if n == 0 { physical_cores() } else { n };
    ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("nd-{i}")).build().ok().map(Arc::new)
}

/// Distinct (package, core) pairs of /proc/cpuinfo where there are any, but never more than the process may use.
fn physical_cores() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, |n| n.get());
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |block: &str, name: &str| block.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    let cores: HashSet<_> = text.split("\n\n").filter_map(|block| Some((field(block, "physical id")?, field(block, "core id")?))).collect();
    if cores.is_empty() {
        usable
    } else {
        usable.min(cores.len())
    }
}

/// Calls `task(0..count)`, spread over the pool; in place when there is one task or one thread.
pub(crate) fn run(count: usize, task: impl Fn(usize) + Sync + Send) {
    match (count > 1 && !IN_PLACE.get()).then(current).flatten().filter(|pool| pool.current_num_threads() > 1) {
        Some(pool) => pool.install(|| (0..count).into_par_iter().with_max_len(1).for_each(&task)),
        None => (0..count).for_each(task),
    }
}
