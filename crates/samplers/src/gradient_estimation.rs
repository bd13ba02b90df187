//! Gradient-estimation Euler (ComfyUI `sample_gradient_estimation`; arXiv:2306.04848): Euler along d + (gamma - 1)(d - d_before).
//!
//! d = (x - x0) / s; gamma = 2. The first step is plain Euler, the last one ends on x0.

use crate::config::Config;
use crate::error::Result;
use crate::euler_cfg_pp::direction;
use crate::k_family;
use crate::k_sigmas::slope;
use crate::lin::{reg, Lin};
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

pub(crate) const CFG_PP: Entry = Entry { class: "GradientEstimationEulerCFGPlusPlusScheduler", rows: cfg_pp_rows, ..ENTRY };

const GAMMA: f64 = 2.0;

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, slope, |x, d, from, to| x + d * (to - from))
}

/// CFG++ (ComfyUI `sample_gradient_estimation_cfg_pp`): d is that of the unconditional prediction, and a step goes from x0, not from x.
fn cfg_pp_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let d = |row: &mut Row, sigma: f64| {
        row.save.push((format!("e{}", row.index), direction(config, sigma)));
        reg(format!("e{}", row.index))
    };
    steps(config, options, schedule, d, |_, d, _, to| reg("x0") + d * to)
}

fn steps(
    config: &Config,
    options: &PlanOptions,
    schedule: &Schedule,
    slope: impl Fn(&mut Row, f64) -> Lin,
    advance: impl Fn(Lin, Lin, f64, f64) -> Lin,
) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            let (from, to) = (sigmas[i], sigmas[i + 1]);
            if to == 0.0 {
                row.next = reg("x0");
                return Ok(row);
            }
            let d = slope(&mut row, from);
            row.next = advance(reg("sample"), d.clone(), from, to);
            if i > options.begin_index {
                row.next = row.next + (d - reg(format!("e{}", i - 1))) * ((GAMMA - 1.0) * (to - from));
            }
            Ok(row)
        })
        .collect()
}
