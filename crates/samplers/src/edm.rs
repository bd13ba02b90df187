//! Euler and DPM-Solver++ in EDM preconditioning, arXiv:2206.00364 table 1.
//!
//! Legend: d = sigma_data; c_in = 1 / sqrt(sigma^2 + d^2), c_skip = d^2 / (sigma^2 + d^2), c_out = sigma d / sqrt(sigma^2 + d^2)
//! (negative for v), c_noise = ln(sigma) / 4; x0 = c_skip x + c_out output.
//! Source: diffusers scheduling_edm_euler.py (sigmas in f64), scheduling_edm_dpmsolver_multistep.py (sigmas in f32).

use crate::betas::torch_linspace;
use crate::config::Config;
use crate::dpm_solver::{check as family_check, Algorithm, Multistep, Point};
use crate::error::{Result, SamplerError};
use crate::euler::churn;
use crate::k_sigmas::{advance, slope};
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{threshold, NO_SAMPLE};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::karras;

pub(crate) const EULER: Entry = Entry {
    class: "EDMEulerScheduler",
    evaluations: 1,
    compatible: false,
    listed: true,
    defaults_json: r#"{
    "sigma_min":0.002, "sigma_max":80.0, "sigma_data":0.5, "sigma_schedule":"karras", "num_train_timesteps":1000,
    "prediction_type":"epsilon", "rho":7.0, "final_sigmas_type":"zero"
}"#,
    step_options: &["sChurn", "sTmin", "sTmax", "sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::WithOption("sChurn"),
    check: |_| Ok(()),
    schedule: euler_schedule,
    rows: euler_rows,
};

pub(crate) const MULTISTEP: Entry = Entry {
    class: "EDMDPMSolverMultistepScheduler",
    evaluations: 1,
    compatible: false,
    listed: false,
    defaults_json: r#"{
    "sigma_min":0.002, "sigma_max":80.0, "sigma_data":0.5, "sigma_schedule":"karras", "num_train_timesteps":1000,
    "prediction_type":"epsilon", "rho":7.0, "solver_order":2, "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "algorithm_type":"dpmsolver++", "solver_type":"midpoint", "lower_order_final":true,
    "euler_at_final":false, "final_sigmas_type":"zero"
}"#,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::ByAlgorithm,
    check,
    schedule: multistep_schedule,
    rows: multistep_rows,
};

fn range(config: &Config) -> Result<(f64, f64, f64)> {
    let (low, high, rho) = (config.number("sigma_min")?, config.number("sigma_max")?, config.number("rho")?);
    for (key, value) in [("sigma_min", low), ("sigma_max", high), ("rho", rho), ("sigma_data", config.number("sigma_data")?)] {
        if value <= 0.0 {
            return Err(SamplerError::config(key, "a number above 0", value.to_string()));
        }
    }
    Ok((low, high, rho))
}

fn build(config: &Config, mut sigmas: Vec<f32>, last: f64) -> Result<Schedule> {
    let (_, high, _) = range(config)?;
    let timesteps = sigmas.iter().map(|s| f64::from(0.25 * (f64::from(*s).ln() as f32))).collect();
    let steps = sigmas.len();
    sigmas.push(last as f32);
    let sigmas = sigmas.iter().map(|s| f64::from(*s)).collect();
    let init_noise_sigma = f64::from((high * high + 1.0).sqrt() as f32);
    Ok(Schedule { timesteps, sigmas, init_noise_sigma, order: 1, steps, ..Schedule::default() })
}

fn exponential(low: f64, high: f64, n: usize) -> Vec<f32> {
    torch_linspace(low.ln() as f32, high.ln() as f32, n).iter().rev().map(|l| f64::from(*l).exp() as f32).collect()
}

pub(crate) fn euler_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let n = options.steps_only(10_000)?;
    let (low, high, rho) = range(config)?;
    let sigmas: Vec<f32> = match config.choice("sigma_schedule", &["karras", "exponential"])? {
        "karras" => karras(high, low, n, rho).iter().map(|s| *s as f32).collect(),
        _ => exponential(low, high, n),
    };
    let zero = config.choice("final_sigmas_type", &["zero", "sigma_min"])? == "zero";
    let last = if zero { 0.0 } else { f64::from(sigmas[n - 1]) };
    build(config, sigmas, last)
}

/// c_in and x0 at a noise level.
fn precondition(config: &Config, kind: &str, sigma: f64) -> Result<(f64, Lin)> {
    let data = config.number("sigma_data")?;
    let total = sigma * sigma + data * data;
    let out = sigma * data / total.sqrt() * if kind == "epsilon" { 1.0 } else { -1.0 };
    Ok((1.0 / total.sqrt(), reg("sample") * (data * data / total) + reg("output") * out))
}

pub(crate) fn euler_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let sigmas = &schedule.sigmas;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = sigmas[i];
            row.input_scale = precondition(config, kind, row.sigma)?.0;
            let raised = churn(&mut row, options, sigmas.len() - 1);
            row.x0 = precondition(config, kind, raised)?.1;
            let slope = slope(&mut row, raised);
            advance(&mut row, reg("sample"), slope, sigmas[i + 1] - raised);
            Ok(row)
        })
        .collect()
}

pub(crate) fn check(config: &mut Config) -> Result<()> {
    family_check(config)?;
    Algorithm::of(config, &["dpmsolver++", "sde-dpmsolver++"]).map(|_| ())
}

pub(crate) fn multistep_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let n = options.steps_only(10_000)?;
    let (low, high, rho) = range(config)?;
    let sigmas: Vec<f32> = match config.choice("sigma_schedule", &["karras", "exponential"])? {
        "karras" => {
            let (a, b) = (high.powf(1.0 / rho), low.powf(1.0 / rho));
            let base = |r: f32| a as f32 + r * (b - a) as f32;
            torch_linspace(0.0, 1.0, n).iter().map(|&r| f64::from(base(r)).powf(rho) as f32).collect()
        }
        _ => exponential(low, high, n),
    };
    let last = if config.choice("final_sigmas_type", &["zero", "sigma_min"])? == "zero" { 0.0 } else { low };
    build(config, sigmas, last)
}

pub(crate) fn multistep_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let algorithm = Algorithm::of(config, &["dpmsolver++", "sde-dpmsolver++"])?;
    let solver_order = config.count("solver_order", 1, 3)?;
    if solver_order == 3 && algorithm.stochastic() {
        return Err(SamplerError::config("solver_order", "1 or 2 for this algorithm_type", "3"));
    }
    let clip = threshold(config)?;
    let points: Vec<Point> = schedule.sigmas.iter().map(|&s| Point::of(1.0, s)).collect();
    let n = schedule.timesteps.len();
    let ends_in_zero = config.get("final_sigmas_type") == "zero";
    let solver = Multistep::of(config, algorithm, (solver_order, options.begin_index, n), ends_in_zero)?;
    (options.begin_index..n)
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = schedule.sigmas[i];
            (row.input_scale, row.x0) = precondition(config, kind, row.sigma)?;
            row.clip = clip.clone();
            row.value = Some(reg("x0"));
            if algorithm.stochastic() {
                row.noise = Some(Noise::Normal);
            }
            row.next = solver.next(&points, i);
            Ok(row)
        })
        .collect()
}
