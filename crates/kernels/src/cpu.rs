//! Which instruction set our CPU bodies use, decided once at run time.

use crate::Storage;
use candle_core::{DType, Device};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

/// An instruction set that our kernels are compiled for, or candle's own ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Portable Rust, four lanes that any compiler maps to its baseline SIMD.
    Scalar,
    /// x86-64 with AVX2 and FMA, 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, 16 lanes.
    Avx512,
    /// AArch64 Advanced SIMD, 4 lanes.
    Neon,
    /// Plain candle ops: the oracle of the tests, and the only differentiable body.
    Reference,
}

impl Level {
    /// The name that `NODE_DIFFUSION_CPU` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Reference => "reference",
        }
    }

    /// All levels, best first.
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar, Self::Reference];

    /// Whether this CPU can run it.
    pub fn available(self) -> bool {
        match self {
            Self::Scalar | Self::Reference => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx2() && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

thread_local! {
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// The level in force on this thread: the one of [`with_level`], else the one that `NODE_DIFFUSION_CPU` names if this CPU has it, else the best available.
pub fn level() -> Level {
    static CHOSEN: OnceLock<Level> = OnceLock::new();
    FORCED.get().unwrap_or_else(|| *CHOSEN.get_or_init(choose))
}

fn choose() -> Level {
    let name = std::env::var("NODE_DIFFUSION_CPU").unwrap_or_default();
    let usable = || Level::ALL.into_iter().filter(|level| level.available());
    usable().find(|level| level.name() == name).or_else(|| usable().next()).unwrap_or(Level::Reference)
}

/// Runs `f` with another level on this thread; operations built inside keep it. For tests and benches.
///
/// A level that this CPU does not have is replaced by [`Level::Scalar`].
pub fn with_level<R>(level: Level, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Level>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(Some(if level.available() { level } else { Level::Scalar })));
    f()
}

static SAVE_MEMORY: AtomicBool = AtomicBool::new(false);

/// Whether convolutions do without Winograd's transformed weights, which are two to seven times as large as the weights; by default they use them.
///
/// Affects calls from now on; weights that were already transformed stay.
pub fn save_memory(on: bool) {
    SAVE_MEMORY.store(on, Ordering::Relaxed)
}

pub(crate) fn saves_memory() -> bool {
    SAVE_MEMORY.load(Ordering::Relaxed)
}

pub use crate::gemm::Peak;

/// GFLOP/s of a bare register tile of the level in force on one thread: the roof of every product. The best of `tries` runs of a millisecond.
pub fn peak(of: Peak, tries: usize) -> f64 {
    crate::gemm::peak(level(), of, tries)
}

/// The level whose bodies serve a tensor on this device stored like this, if any do.
pub(crate) fn ours(device: &Device, storage: impl Into<Storage>) -> Option<Level> {
    let fits = device.is_cpu() && matches!(storage.into(), Storage::Float(DType::F32 | DType::F16 | DType::BF16) | Storage::Int8);
    Some(level()).filter(|level| fits && *level != Level::Reference)
}

/// The level whose products of bytes serve a level: AVX-512 has them where it has VNNI.
pub(crate) fn byte_level(level: Level) -> Level {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 && !is_x86_feature_detected!("avx512vnni") {
        return Level::Avx2;
    }
    level
}

/// The features of this CPU that matter to us, by the names of `/proc/cpuinfo` or its like.
pub fn features() -> Vec<&'static str> {
    let mut names = Vec::new();
    macro_rules! probe {
        ($detect:ident: $($name:tt)*) => { $(if std::arch::$detect!($name) { names.push($name) })* };
    }
    #[cfg(target_arch = "x86_64")]
    probe!(is_x86_feature_detected: "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    probe!(is_aarch64_feature_detected: "neon" "fp16" "dotprod" "bf16" "i8mm" "sve");
    names
}
