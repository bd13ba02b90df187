//! Samplers as immutable plans: pure f64 mathematics, no tensors.
//!
//! A diffusers config plus run options gives a [`Plan`]: timesteps, noise levels and one [`Row`] per model evaluation, each a
//! few linear combinations over named registers. The caller owns the tensors; `plan.rs` says how a row is executed.

mod betas;
mod config;
mod ddim;
mod ddpm;
mod deis;
mod dpm_multistep;
mod dpm_sde;
mod dpm_singlestep;
mod dpm_solver;
mod edm;
mod error;
mod euler;
mod heun;
mod ipndm;
mod json;
mod k_sigmas;
mod kdpm2;
mod lcm;
mod lin;
mod lms;
mod names;
mod plan;
mod pndm;
mod prediction;
mod registry;
mod sa_solver;
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
