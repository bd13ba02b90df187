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
use crate::registry::Entry;

pub(crate) const ENTRY: Entry = k_family::entry("GradientEstimationEulerScheduler", rows);

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
    k_family::rows(config, options, schedule, |row, from, to| {
        if to == 0.0 {
            return reg("x0");
        }
        let d = slope(row, from);
        let next = advance(reg("sample"), d.clone(), from, to);
        match row.index.checked_sub(1) {
            Some(before) if row.index > options.begin_index => next + (d - reg(format!("e{before}"))) * ((GAMMA - 1.0) * (to - from)),
            _ => next,
        }
    })
}
