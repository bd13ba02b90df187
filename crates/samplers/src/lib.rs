//! Samplers as immutable plans: pure f64 mathematics, no tensors.
//!
//! A diffusers config plus run options gives a [`Plan`]: timesteps, noise levels and one [`Row`] per model evaluation, each a
//! few linear combinations over named registers. The caller owns the tensors; `plan.rs` says how a row is executed.

mod betas;
mod config;
mod ddim;
mod ddpm;
mod deis;
mod dpm_adaptive;
mod dpm_fast;
mod dpm_multistep;
mod dpm_sde;
mod dpm_singlestep;
mod dpm_solver;
mod dpmpp_2m_cfg_pp;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod edm;
mod er_sde;
mod error;
mod euler;
mod euler_cfg_pp;
mod gits;
mod gradient_estimation;
mod heun;
mod ipndm;
mod ipndm_sigmas;
mod json;
mod k_family;
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
mod res_multistep;
mod sa_solver;
mod scheduler;
mod sigma_schedules;
mod sigmas;
mod timesteps;
mod unclip;
mod uni_pc;

pub use betas::{alphas_cumprod, betas};
pub use config::Config;
pub use error::{Result, SamplerError};
pub use json::{config_json, list_json, noise_json, plan_json};
pub use lin::Lin;
pub use names::{Named, NamedSpacing, NAMES, SPACINGS};
pub use plan::{Clip, Noise, Plan, PlanOptions, Row, Variance};
pub use registry::{find, nearest, Entry, NoiseRule, Stochastic, Velocity, ENTRIES};
pub use scheduler::{NoiseCoefficients, Scheduler};
pub use sigma_schedules::SIGMA_SPACINGS;
