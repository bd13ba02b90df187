//! What this build and this machine can do.

use crate::error::{Failure, Result};
use napi_derive::napi;
use nd_kernels::{cpu, pool};

/// Facts for the `doctor` command.
#[napi(object, object_from_js = false)]
pub struct NativeInfo {
    /// Version of the native addon.
    pub version: String,
    /// Target that it was built for, such as `x86_64-linux`.
    pub target: String,
    /// Instruction set in use: avx512, avx2, neon, scalar or reference.
    pub level: String,
    /// What is multiplied in layers kept as bf16: `f32`, `bf16` where the CPU has an instruction for it, or `bf16 in software` where that was asked for.
    pub bf16: String,
    /// Features of this CPU that matter.
    pub cpu_features: Vec<String>,
    /// Threads of the pool.
    pub threads: u32,
    /// Whether this build contains the CUDA kernels.
    pub cuda: bool,
}

/// Version, instruction set, threads and devices.
#[napi(catch_unwind)]
pub fn doctor() -> NativeInfo {
    NativeInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        level: cpu::level().name().into(),
        bf16: bf16().into(),
        cpu_features: cpu::features().into_iter().map(Into::into).collect(),
        threads: pool::threads() as u32,
        cuda: cfg!(feature = "cuda"),
    }
}

fn bf16() -> &'static str {
    match (cpu::multiplies_bf16(), cpu::has_bf16(cpu::level())) {
        (false, _) => "f32",
        (true, true) => "bf16",
        (true, false) => "bf16 in software",
    }
}

/// Sets the threads of the pool that all native work shares; 0 means one for each physical core.
#[napi(catch_unwind)]
pub fn set_threads(threads: u32) -> Result<()> {
    const MOST: u32 = 1024; // more is a mistake, and starting them would exhaust the system
    if threads > MOST {
        return Err(Failure::expected(format!("a whole number from 0 to {MOST}"), "threads", threads).into());
    }
    pool::set_threads(threads as usize);
    Ok(())
}
