//! What a run would need, told without running it.

use crate::allocator;
use crate::error::{Failure, Outcome};
use napi_derive::napi;
use nd_kernels::{cpu, dry, memory};
use std::sync::Arc;

/// Bytes that a run would need beyond what native code holds already.
#[napi(object, object_from_js = false)]
pub struct NativeNeed {
    /// Forms of weights that it would make and keep.
    pub kept: f64,
    /// The most that activations take at once.
    pub activations: f64,
    /// The most that one operation takes on the side.
    pub scratch: f64,
    /// What native code holds now.
    pub live: f64,
}

impl From<dry::Need> for NativeNeed {
    fn from(dry::Need { kept, activations, scratch }: dry::Need) -> Self {
        Self { kept: kept as f64, activations: activations as f64, scratch: scratch as f64, live: memory::live() as f64 }
    }
}

/// Runs `work` on a model dry, as it would run with or without saving memory.
pub fn need_of<M, T>(saves_memory: bool, model: Arc<M>, work: impl FnOnce(&M) -> Result<T, nd_models::ModelError>) -> Outcome<NativeNeed> {
    let (result, need) = saving(saves_memory, || dry::run(|| work(&model)));
    drop(model);
    // What a dry run frees has pages that nobody touched: they must not count as memory to be had.
    allocator::release_pages();
    result.map_err(Failure::from)?;
    Ok(need.into())
}

/// Runs `work` with convolutions that keep no second form of their weights, or as usual. Jobs run one after the other, so none sees another's choice.
pub fn saving<R>(saves_memory: bool, work: impl FnOnce() -> R) -> R {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            cpu::save_memory(false);
        }
    }
    cpu::save_memory(saves_memory);
    let _restore = Restore;
    work()
}
