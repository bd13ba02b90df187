//! RES multistep (ComfyUI `sample_res_multistep`): the refined exponential solver of arXiv:2308.02157, second order, one evaluation.
//!
//! h = ln(s / s'), c2 = ln(s_down / s_before) / h, s_down = s: next = e^-h x + h (b1 x0 + b2 x0_before), b2 = phi2(-h)/c2, b1 = phi1(-h) - b2, with
//! phi1(z) = (e^z - 1)/z and phi2(z) = (phi1(z) - 1)/z. The first and the last step are Euler steps. Ancestral: s' is the down part of the
//! next level, and noise is added; s_before is still compared with the down part that the step before ended at.

use crate::config::Config;
use crate::error::Result;
use crate::euler::split;
use crate::euler_cfg_pp::unprompted;
use crate::k_family;
use crate::lin::{reg, Lin};
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, Stochastic};

pub(crate) const ENTRY: Entry = k_family::entry("RESMultistepScheduler", rows);

pub(crate) const ANCESTRAL: Entry = Entry {
    class: "RESMultistepAncestralScheduler",
    step_options: &["eta", "sNoise"],
    stochastic: Stochastic::Always,
    rows: ancestral_rows,
    ..ENTRY
};

pub(crate) const CFG_PP: Entry = Entry { class: "RESMultistepCFGPlusPlusScheduler", rows: cfg_pp_rows, ..ENTRY };

pub(crate) const ANCESTRAL_CFG_PP: Entry = Entry { class: "RESMultistepAncestralCFGPlusPlusScheduler", rows: ancestral_cfg_pp_rows, ..ANCESTRAL };

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, 0.0, |_| reg("x0"))
}

fn ancestral_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, options.eta.unwrap_or(1.0), |_| reg("x0"))
}

/// CFG++ (ComfyUI `sample_res_multistep_cfg_pp`): the history is that of the unconditional predictions u0, and x moves by x0 - u0 first.
fn cfg_pp_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, 0.0, |sigma| unprompted(config, sigma))
}

fn ancestral_cfg_pp_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, options.eta.unwrap_or(1.0), |sigma| unprompted(config, sigma))
}

/// `history`: the prediction that the multistep formula reads, x0 or u0, at a level.
fn steps(config: &Config, options: &PlanOptions, schedule: &Schedule, eta: f64, history: impl Fn(f64) -> Lin) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    let parts = |i: usize| if eta > 0.0 { split(sigmas[i], sigmas[i + 1], eta) } else { (sigmas[i + 1], 0.0) };
    k_family::rows(config, options, schedule, |row, from, _| {
        let i = row.index;
        let (to, up) = parts(i);
        row.value = Some(history(from));
        let newest = reg(format!("m{i}"));
        let ratio = to / from;
        let moved = reg("sample") + reg("x0") - newest.clone();
        let next = if to == 0.0 || i == options.begin_index {
            moved * ratio + reg("x0") * (1.0 - ratio)
        } else {
            let h = (from / to).ln();
            let c2 = (parts(i - 1).0 / sigmas[i - 1]).ln() / h;
            let phi1 = (-h).exp_m1() / -h;
            let b2 = (phi1 - 1.0) / -h / c2;
            moved * ratio + newest * (h * (phi1 - b2)) + reg(format!("m{}", i - 1)) * (h * b2)
        };
        match k_family::fresh_noise(row, options, up) {
            Some(noise) => next + noise,
            None => next,
        }
    })
}
