//! Samplers as immutable plans: pure f64 mathematics, no tensors.
//!
//! A diffusers config plus run options gives a [`Plan`]: timesteps, noise levels and one [`Row`] per model evaluation, each a
//! few linear combinations over named registers. The caller owns the tensors; `plan.rs` says how a row is executed.

mod betas;
mod config;
mod ddim;
mod ddpm;
mod dpm_multistep;
mod dpm_solver;
mod error;
mod euler;
mod json;
mod k_sigmas;
mod lin;
mod lms;
mod names;
mod plan;
mod pndm;
mod prediction;
mod registry;
mod scheduler;
mod sigmas;
mod timesteps;
mod uni_pc;

pub use betas::{alphas_cumprod, betas};
pub use config::Config;
pub use error::{Result, SamplerError};
pub use json::{config_json, list_json, noise_json, plan_json};
pub use lin::Lin;
pub use names::NAMES;
pub use plan::{Clip, Noise, Plan, PlanOptions, Row};
pub use registry::{find, nearest, Entry, NoiseRule, Stochastic, Velocity, ENTRIES};
pub use scheduler::{NoiseCoefficients, Scheduler};
