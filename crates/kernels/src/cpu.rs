//! Which instruction set our CPU bodies use, decided once at run time.

use crate::simd::{dispatch, Simd, Task};
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

/// What operations that are built on a thread use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    level: Level,
    bf16: bool,
}

thread_local! {
    static FORCED: Cell<Option<Choice>> = const { Cell::new(None) };
}

fn choice() -> Choice {
    static CHOSEN: OnceLock<Choice> = OnceLock::new();
    FORCED.get().unwrap_or_else(|| *CHOSEN.get_or_init(|| choose(&std::env::var("NODE_DIFFUSION_CPU").unwrap_or_default())))
}

/// What a value of `NODE_DIFFUSION_CPU` stands for.
fn choose(value: &str) -> Choice {
    let name = value.strip_suffix(BF16);
    let usable = || Level::ALL.into_iter().filter(|level| level.available());
    match usable().find(|level| level.name() == name.unwrap_or(value)) {
        Some(level) => Choice { level, bf16: name.is_some() && level != Level::Reference },
        None => {
            let level = usable().next().unwrap_or(Level::Reference);
            Choice { level, bf16: has_bf16(level) }
        }
    }
}

/// What follows a level's name where products of bf16 are in force.
const BF16: &str = "+bf16";

/// The level in force on this thread: the one of [`with_level`], else the one that `NODE_DIFFUSION_CPU` names if this CPU has it, else the best available.
pub fn level() -> Level {
    choice().level
}

/// Whether layers whose weights are stored as bf16 round their inputs to bf16 as well and multiply those, sums being f32; else they widen the weights.
///
/// By default where the CPU has an instruction for it (AVX512_BF16). A level named by `NODE_DIFFUSION_CPU` or [`with_level`] does without; `+bf16` behind the name
/// asks for it at any level, in software where there is no instruction, slowly but bit for bit the same.
pub fn multiplies_bf16() -> bool {
    choice().bf16
}

/// What is in force on this thread in one word, such as `avx512+bf16`: what `NODE_DIFFUSION_CPU` takes.
pub fn name() -> String {
    let Choice { level, bf16 } = choice();
    format!("{}{}", level.name(), if bf16 { BF16 } else { "" })
}

/// Whether this CPU has an instruction for products of bf16 that the level uses.
pub fn has_bf16(level: Level) -> bool {
    struct Has;
    impl Task for Has {
        type Output = bool;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> bool {
            S::has_pairs()
        }
    }
    level != Level::Reference && dispatch(level, Has)
}

/// Runs `f` with another level on this thread, without products of bf16; operations built inside keep it. For tests and benches.
///
/// A level that this CPU does not have is replaced by [`Level::Scalar`].
pub fn with_level<R>(level: Level, f: impl FnOnce() -> R) -> R {
    with(Choice { level: if level.available() { level } else { Level::Scalar }, bf16: false }, f)
}

/// Runs `f` with products of bf16, see [`multiplies_bf16`], at the level in force. For tests and benches.
pub fn with_bf16<R>(f: impl FnOnce() -> R) -> R {
    let level = level();
    with(Choice { level, bf16: level != Level::Reference }, f)
}

fn with<R>(choice: Choice, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Choice>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(Some(choice)));
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
    let fits = device.is_cpu() && matches!(storage.into(), Storage::Float(DType::F32 | DType::F16 | DType::BF16) | Storage::Int8 | Storage::Fast);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_level_and_whether_bf16_is_multiplied() {
        assert_eq!(choose("scalar"), Choice { level: Level::Scalar, bf16: false });
        assert_eq!(choose("scalar+bf16"), Choice { level: Level::Scalar, bf16: true });
        assert_eq!(choose("reference+bf16"), Choice { level: Level::Reference, bf16: false });
        // Nothing that this CPU has: the best of it, with products of bf16 where they are quick.
        let best = choose("");
        assert_eq!(best.bf16, has_bf16(best.level));
        assert_eq!(choose("sse+bf16"), best);
    }
}
