//! The prior's ancestral sampling in unCLIP and Kandinsky, arXiv:2204.06125.
//!
//! DDPM over the cosine schedule with timesteps from T - 1 to 0, both included. Symbols as in ddpm.rs.
//! Source: diffusers scheduling_unclip.py, whose `step` is given the next timestep, as its pipelines do.

use crate::betas::{alphas_cumprod, betas};
use crate::config::Config;
use crate::ddpm::rows_by;
use crate::error::{Result, SamplerError};
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::linspace;

pub(crate) const ENTRY: Entry = Entry {
    class: "UnCLIPScheduler",
    evaluations: 1,
    compatible: false,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "variance_type":"fixed_small_log", "clip_sample":true, "clip_sample_range":1.0,
    "prediction_type":"epsilon", "beta_schedule":"squaredcos_cap_v2"
}"#,
    step_options: &[],
    noise: NoiseRule::Bars,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check,
    schedule,
    rows,
};

const SCHEDULES: &[&str] = &["squaredcos_cap_v2"];

fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(train)?;
    if steps < 2 {
        return Err(SamplerError::argument("numInferenceSteps", format!("an integer from 2 to {train}"), steps.to_string()));
    }
    let timesteps = linspace(0.0, train as f64 - 1.0, steps).iter().rev().map(|t| t.round_ties_even()).collect();
    let bars = alphas_cumprod(config, SCHEDULES)?;
    Ok(Schedule { timesteps, integer: true, init_noise_sigma: 1.0, order: 1, bars, steps, ..Schedule::default() })
}

/// DDPM's, with alpha as 1 - beta: that of training between neighbours, else one in f32, which is 1 at the first steps of the steep cosine schedule.
fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let betas = betas(config, SCHEDULES)?;
    rows_by(config, options, schedule, |a, p, i| {
        let t = schedule.timesteps[i];
        let next = schedule.timesteps.get(i + 1).copied().unwrap_or(-1.0);
        match betas.get(t as usize) {
            Some(&beta) if next == t - 1.0 => 1.0 - f64::from(beta),
            _ => f64::from(1.0 - (1.0 - (a / p) as f32)),
        }
    })
}

/// DDPM's rows take more kinds.
fn check(config: &mut Config) -> Result<()> {
    config.choice("prediction_type", &["epsilon", "sample"])?;
    config.choice("variance_type", &["fixed_small_log", "learned_range"])?;
    Ok(())
}
