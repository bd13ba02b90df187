//! DPM-Solver singlestep: groups of 1, 2 or 3 evaluations that all step from the group's first sample.
//!
//! Source: diffusers scheduling_dpmsolver_singlestep.py; formulas in [`crate::dpm_solver`].

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::dpm_multistep::{close, usable, with_mu, Style, ENTRY as MULTISTEP};
use crate::dpm_solver::{check as family_check, convert, points, singlestep, update, Algorithm, Rule};
use crate::error::{Result, SamplerError};
use crate::euler::refuse_respaced;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{threshold, FLOW_TYPES, TYPES};
use crate::registry::Entry;
use crate::timesteps::linspace;

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMSolverSinglestepScheduler",
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "solver_order":2, "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "algorithm_type":"dpmsolver++", "solver_type":"midpoint", "lower_order_final":false,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "use_flow_sigmas":false,
    "flow_shift":1.0, "final_sigmas_type":"zero", "lambda_min_clipped":"-Infinity", "variance_type":null,
    "use_dynamic_shifting":false, "time_shift_type":"exponential"
}"#,
    check,
    schedule,
    rows,
    ..MULTISTEP
};

const ALGORITHMS: &[&str] = &["dpmsolver", "dpmsolver++", "sde-dpmsolver++"];

pub(crate) fn check(config: &mut Config) -> Result<()> {
    family_check(config)?;
    let algorithm = Algorithm::of(config, ALGORITHMS)?;
    config.count("solver_order", 1, 3)?;
    if config.flag("thresholding") && !algorithm.on_data() {
        return Err(SamplerError::config("thresholding", "false for algorithm_type dpmsolver", "true"));
    }
    Ok(())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let config = &with_mu(config, options)?;
    let train = config.train_steps()?;
    refuse_respaced(config, options)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let timesteps = match options.custom_timesteps(train)? {
        Some(list) => list,
        None => {
            let n = options.steps_only(train)?;
            let last = usable(config, &bars)? - 1;
            linspace(0.0, last as f64, n + 1)[1..].iter().rev().map(|t| t.round_ties_even()).collect()
        }
    };
    close(config, &bars, timesteps, &Style { round_karras: true, repeat_last: false })
}

/// The order of every evaluation: its place in its group.
fn orders(config: &Config, n: usize) -> Result<Vec<usize>> {
    let order = config.count("solver_order", 1, 3)?;
    let to_zero = config.get("final_sigmas_type") == "zero";
    let lower = config.flag("lower_order_final") || !n.is_multiple_of(order) || to_zero;
    let mut orders: Vec<usize> = (0..n).map(|i| i % order + 1).collect();
    if lower && order == 3 && n.is_multiple_of(3) {
        orders[n - 1] = 1;
    }
    if lower && order == 2 && n.is_multiple_of(2) {
        orders[n - 1] = 1;
    }
    if to_zero {
        orders[n - 1] = 1;
    }
    Ok(orders)
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let algorithm = Algorithm::of(config, ALGORITHMS)?;
    let kind = config.choice("prediction_type", if algorithm.on_data() { FLOW_TYPES } else { TYPES })?;
    let rule = Rule::of(config)?;
    let clip = threshold(config)?;
    let points = points(config, &schedule.sigmas);
    let n = schedule.timesteps.len();
    let orders = orders(config, n)?;
    let mut base = options.begin_index;
    Ok((options.begin_index..n)
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = schedule.sigmas[i];
            convert(&mut row, algorithm, kind, points[i], &clip);
            let order = orders[i].min(i - options.begin_index + 1);
            if order == 1 {
                base = i;
                row.save.push((format!("s{i}"), reg("sample")));
            }
            let m: Vec<_> = (0..order).map(|k| reg(format!("m{}", i - k))).collect();
            let p: Vec<_> = (0..order).map(|k| points[i - k]).collect();
            let derivatives = singlestep(&m, &p, points[i + 1], rule);
            row.next = update(algorithm, reg(format!("s{base}")), p[order - 1], points[i + 1], derivatives);
            row
        })
        .collect())
}
