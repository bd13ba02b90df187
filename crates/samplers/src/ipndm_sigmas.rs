//! iPNDM over noise levels (ComfyUI `sample_ipndm`; arXiv:2202.09778): Adams-Bashforth of order 4 on dx/dsigma = (x - x0) / sigma.
//!
//! The coefficients are those of equal steps, whatever the levels. The first three steps have lower orders, the last one ends on x0.
//! diffusers' IPNDMScheduler is the same method over times of its own, for models trained on those.

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::k_sigmas::slope;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};

pub(crate) const ENTRY: Entry = Entry {
    class: "SigmaIPNDMScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: k_family::DEFAULTS,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule: k_family::schedule,
    rows,
};

/// Weights of the slopes, newest first, by order.
const WEIGHTS: [&[f64]; 4] = [&[1.0], &[1.5, -0.5], &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0], &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0]];

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            if sigmas[i + 1] == 0.0 {
                row.next = reg("x0");
                return Ok(row);
            }
            slope(&mut row, sigmas[i]);
            let dt = sigmas[i + 1] - sigmas[i];
            let weights = WEIGHTS[(i - options.begin_index).min(3)];
            row.next = weights.iter().enumerate().fold(reg("sample"), |next, (k, weight)| next + reg(format!("e{}", i - k)) * (dt * weight));
            Ok(row)
        })
        .collect()
}
