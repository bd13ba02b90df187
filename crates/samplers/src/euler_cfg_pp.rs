//! Euler CFG++ and Euler a CFG++ (ComfyUI `sample_euler_cfg_pp`, `sample_euler_ancestral_cfg_pp`): guidance that stays on the data's manifold.
//!
//! arXiv:2406.08070: the clean sample x0 is the guided one, but the noise that is added back is that of the unconditional prediction u:
//! d = (x - u0) / s, next = x0 + s' d; ancestral: next = x0 + down d + up noise. Scales of 0 to 1 interpolate, so guidance is on at 1 too.
//! The row's register `uncond` is the model's unconditional answer.

use crate::config::Config;
use crate::error::Result;
use crate::euler::split;
use crate::k_family;
use crate::lin::{reg, Lin};
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, Stochastic};

pub(crate) const ENTRY: Entry = k_family::entry("EulerCFGPlusPlusScheduler", rows);

pub(crate) const ANCESTRAL: Entry = Entry {
    class: "EulerAncestralCFGPlusPlusScheduler",
    step_options: &["eta", "sNoise"],
    stochastic: Stochastic::Always,
    rows: ancestral_rows,
    ..ENTRY
};

/// The unconditional clean prediction u0 by prediction type.
pub(crate) fn unprompted(config: &Config, sigma: f64) -> Lin {
    reg("sample") - direction(config, sigma) * sigma
}

/// The unconditional noise `(x - u0) / sigma` by prediction type.
pub(crate) fn direction(config: &Config, sigma: f64) -> Lin {
    let square = sigma * sigma + 1.0;
    match config.get("prediction_type").as_str() {
        Some("epsilon") => reg("uncond"),
        Some("sample") => (reg("sample") - reg("uncond")) * (1.0 / sigma),
        _ => reg("sample") * (sigma / square) + reg("uncond") * (1.0 / square.sqrt()),
    }
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, 0.0)
}

fn ancestral_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, options.eta.unwrap_or(1.0))
}

fn steps(config: &Config, options: &PlanOptions, schedule: &Schedule, eta: f64) -> Result<Vec<Row>> {
    k_family::rows(config, options, schedule, |row, from, to| {
        if to == 0.0 {
            return reg("x0");
        }
        let (down, up) = split(from, to, eta);
        let next = reg("x0") + direction(config, from) * down;
        match k_family::fresh_noise(row, options, up) {
            Some(noise) => next + noise,
            None => next,
        }
    })
}
