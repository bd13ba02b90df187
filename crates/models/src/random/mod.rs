//! Random numbers as torch draws them: the CPU's mt19937 and CUDA's Philox, both computed on the CPU, so that a seed means the same picture on every device.

mod generator;
mod mt19937;
mod normal;
mod philox;
mod samples;

pub use generator::{Generator, GeneratorKind};
pub use samples::{Precision, Samples};
