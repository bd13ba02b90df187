//! Gradient-estimation Euler (ComfyUI `sample_gradient_estimation`; arXiv:2306.04848): Euler along d + (gamma - 1)(d - d_before).
//!
//! d = (x - x0) / s; gamma = 2. The first step is plain Euler, the last one ends on x0.

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::k_sigmas::slope;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};

pub(crate) const ENTRY: Entry = Entry {
    class: "GradientEstimationEulerScheduler",
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

const GAMMA: f64 = 2.0;

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            if sigmas[i + 1] == 0.0 {
                row.next = reg("x0");
                return Ok(row);
            }
            let d = slope(&mut row, sigmas[i]);
            let direction = match i == options.begin_index {
                true => d,
                false => d.clone() + (d - reg(format!("e{}", i - 1))) * (GAMMA - 1.0),
            };
            row.next = reg("sample") + direction * (sigmas[i + 1] - sigmas[i]);
            Ok(row)
        })
        .collect()
}
