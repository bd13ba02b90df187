//! Runs that compute nothing: shapes are checked, outputs take their place in memory without being touched, and what operations would keep or need on the
//! side is added up. So a model tells its memory for any size in milliseconds. A model that is built dry reads no weights: its matrices have their place in
//! memory and nothing in it.

use crate::memory;
use std::cell::Cell;

/// Memory that a run would need beyond what is in use already, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Forms of weights that the run makes and the model keeps.
    pub kept: usize,
    /// The most that activations take at once.
    pub activations: usize,
    /// The most that one operation takes on the side.
    pub scratch: usize,
}

impl Need {
    /// The most at once.
    pub fn peak(&self) -> usize {
        self.kept + self.activations + self.scratch
    }
}

thread_local! {
    static NEED: Cell<Option<Need>> = const { Cell::new(None) };
}

/// Runs `f` dry on this thread; its tensors hold any numbers. Only what [`memory::Counting`] allocates is counted as activations.
pub fn run<R>(f: impl FnOnce() -> R) -> (R, Need) {
    struct Restore(Option<Need>);
    impl Drop for Restore {
        fn drop(&mut self) {
            NEED.set(self.0);
        }
    }
    let restore = Restore(NEED.replace(Some(Need::default())));
    let before = memory::live();
    memory::reset_peak();
    let result = f();
    let need = NEED.get().unwrap_or_default();
    drop(restore);
    (result, Need { activations: memory::peak().saturating_sub(before), ..need })
}

/// Whether this thread runs dry.
pub fn is_on() -> bool {
    NEED.get().is_some()
}

/// Notes what an operation would keep and what it would need meanwhile.
pub(crate) fn note(kept: usize, scratch: usize) {
    if let Some(need) = NEED.get() {
        NEED.set(Some(Need { kept: need.kept + kept, scratch: need.scratch.max(scratch), ..need }));
    }
}
