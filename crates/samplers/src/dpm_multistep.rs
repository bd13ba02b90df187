//! DPM-Solver multistep (2M, 3M, SDE), its inverse, and their shared schedule.
//!
//! Source: diffusers scheduling_dpmsolver_multistep.py, scheduling_dpmsolver_multistep_inverse.py; formulas in
//! [`crate::dpm_solver`]. The order grows from 1 where the run begins and shrinks at its end.

use crate::betas::{alphas_cumprod, finite_alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::dpm_solver::{check, convert, points, Algorithm, Multistep};
use crate::error::{Result, SamplerError};
use crate::euler::{final_sigma, refuse_respaced};
use crate::k_sigmas::at_timesteps;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{threshold, FLOW_TYPES, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigma_schedules::levels;
use crate::sigmas::{beta, ends, exponential, flow, karras, sigma_to_t, spacing, to_f32, Spacing};
use crate::timesteps::{exclusive, linspace};

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMSolverMultistepScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "solver_order":2, "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "algorithm_type":"dpmsolver++", "solver_type":"midpoint", "lower_order_final":true,
    "euler_at_final":false, "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false,
    "use_lu_lambdas":false, "use_flow_sigmas":false, "flow_shift":1.0, "final_sigmas_type":"zero",
    "lambda_min_clipped":"-Infinity", "variance_type":null, "timestep_spacing":"linspace", "steps_offset":0,
    "rescale_betas_zero_snr":false, "use_dynamic_shifting":false, "time_shift_type":"exponential"
}"#,
    step_options: &[],
    noise: NoiseRule::Preserving,
    velocity: Velocity::None,
    stochastic: Stochastic::ByAlgorithm,
    check,
    schedule,
    rows,
};

pub(crate) const INVERSE: Entry = Entry {
    class: "DPMSolverMultistepInverseScheduler",
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "solver_order":2, "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "algorithm_type":"dpmsolver++", "solver_type":"midpoint", "lower_order_final":true,
    "euler_at_final":false, "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false,
    "use_flow_sigmas":false, "flow_shift":1.0, "lambda_min_clipped":"-Infinity", "variance_type":null,
    "timestep_spacing":"linspace", "steps_offset":0
}"#,
    schedule: inverse_schedule,
    ..ENTRY
};

/// lambda of every training step, f32 as in the reference.
fn train_lambdas(bars: &[f32]) -> Vec<f32> {
    let log = |v: f32| f64::from(v).ln() as f32;
    bars.iter().map(|&a| log(a.sqrt()) - log((1.0 - a).sqrt())).collect()
}

/// Training steps whose lambda is not below `lambda_min_clipped`, which come first; at least one.
pub(crate) fn usable(config: &Config, bars: &[f32]) -> Result<usize> {
    let least = config.number("lambda_min_clipped")?;
    let lambdas = train_lambdas(bars);
    match lambdas.len() - lambdas.iter().filter(|&&l| f64::from(l) < least).count() {
        0 => Err(SamplerError::config("lambda_min_clipped", "a number that some training step reaches", least.to_string())),
        count => Ok(count),
    }
}

/// What differs between the classes that share this schedule.
pub(crate) struct Style {
    /// Are respaced Karras (and Lu) timesteps rounded?
    pub round_karras: bool,
    /// Does the class repeat the last respaced sigma instead of ending by `final_sigmas_type`?
    pub repeat_last: bool,
}

/// Respaced timesteps and sigmas of an exponential integrator over the whole training range; `None`: keep the timesteps.
pub(crate) fn respaced(config: &Config, bars: &[f32], n: usize, style: &Style) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
    let train = train_sigmas(bars);
    let logs = log_f32(&train);
    let (first, last) = (f64::from(train[train.len() - 1]), f64::from(train[0]));
    let (high, low) = ends(config, first, last)?;
    let at = |sigmas: &[f64], round: bool| -> Vec<f64> {
        let t = sigmas.iter().map(|&s| sigma_to_t(s, &logs));
        if round {
            t.map(f64::round_ties_even).collect()
        } else {
            t.collect()
        }
    };
    Ok(match spacing(config) {
        Spacing::Timesteps => None,
        Spacing::Karras => {
            let sigmas = karras(high, low, n, 7.0);
            Some((at(&sigmas, style.round_karras), sigmas))
        }
        Spacing::Lu => {
            let ends = (f64::from(logs[logs.len() - 1]), f64::from(logs[0]));
            let sigmas: Vec<f64> = linspace(0.0, 1.0, n).iter().map(|r| (ends.0 + r * (ends.1 - ends.0)).exp()).collect();
            Some((at(&sigmas, style.round_karras), sigmas))
        }
        Spacing::Exponential => {
            let sigmas = exponential(high, low, n);
            Some((at(&sigmas, false), sigmas))
        }
        Spacing::Beta => {
            let sigmas = beta(high, low, n);
            Some((at(&sigmas, false), sigmas))
        }
        Spacing::Named(name) => {
            let sigmas = levels(name, n, bars);
            Some((at(&sigmas, true), sigmas))
        }
        Spacing::Flow => {
            let sigmas = flow(config, n)?;
            let train = config.train_steps()? as f64;
            Some((sigmas.iter().map(|s| s * train).collect(), sigmas))
        }
    })
}

/// Integer timesteps (cut towards zero) and f32 sigmas with their end.
pub(crate) fn close(config: &Config, bars: &[f32], timesteps: Vec<f64>, style: &Style) -> Result<Schedule> {
    let n = timesteps.len();
    let (timesteps, mut sigmas) = match respaced(config, bars, n, style)? {
        Some((timesteps, mut sigmas)) => {
            if style.repeat_last {
                sigmas.extend(sigmas.last().copied());
            }
            (timesteps, sigmas)
        }
        None => {
            let mut sigmas = at_timesteps(bars, &timesteps);
            if style.repeat_last {
                sigmas.push(f64::from(train_sigmas(&bars[..1])[0]));
            }
            (timesteps, sigmas)
        }
    };
    if !style.repeat_last {
        sigmas.push(final_sigma(config, bars)?);
    }
    let timesteps = timesteps.iter().map(|t| t.trunc()).collect();
    let sigmas = to_f32(&sigmas);
    Ok(Schedule { timesteps, integer: true, sigmas, init_noise_sigma: 1.0, order: 1, bars: bars.to_vec(), steps: n, ..Schedule::default() })
}

/// The config's own flow shift, or the one that `mu` means.
pub(crate) fn with_mu(config: &Config, options: &PlanOptions) -> Result<Config> {
    let mut config = config.clone();
    if let Some(mu) = options.mu {
        if !config.flag("use_dynamic_shifting") {
            return Err(SamplerError::argument("mu", "nothing (use_dynamic_shifting is false)", mu.to_string()));
        }
        config.set("flow_shift", mu.exp().into());
    }
    Ok(config)
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let config = &with_mu(config, options)?;
    let train = config.train_steps()?;
    refuse_respaced(config, options)?;
    let bars = finite_alphas_cumprod(config, COMMON)?;
    let timesteps = match options.custom_timesteps(train)? {
        Some(list) => list,
        None => {
            let usable = usable(config, &bars)?;
            exclusive(config, train, usable, options.steps_only(train)?)?
        }
    };
    let style = Style { round_karras: config.get("beta_schedule") != "squaredcos_cap_v2", repeat_last: false };
    close(config, &bars, timesteps, &style)
}

pub(crate) fn inverse_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let n = options.steps_only(train)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let usable = usable(config, &bars)?;
    let mut timesteps = exclusive(config, train, usable, n)?;
    timesteps.reverse();
    match config.get("timestep_spacing").as_str() {
        Some("linspace") => {
            let grid = linspace(0.0, usable as f64 - 1.0, n + 1);
            timesteps = grid[..n].iter().map(|t| t.round_ties_even()).collect();
        }
        Some("leading") => {
            let (ratio, offset) = (usable / (n + 1), config.integer("steps_offset")? as f64);
            timesteps = (0..n).map(|i| (i * ratio) as f64 + offset).collect();
        }
        _ => {}
    }
    let style = Style { round_karras: true, repeat_last: true };
    let mut schedule = close(config, &bars, timesteps, &style)?;
    match spacing(config) {
        Spacing::Timesteps => {
            let last = schedule.sigmas.len() - 1;
            schedule.sigmas[last] = f64::from(train_sigmas(&bars[usable - 1..usable])[0]);
        }
        Spacing::Flow => {}
        _ => {
            schedule.sigmas.pop();
            schedule.sigmas.reverse();
            schedule.sigmas.extend(schedule.sigmas.last().copied());
            schedule.timesteps.reverse();
        }
    }
    let mut seen = Vec::new();
    schedule.timesteps.retain(|t| {
        let fresh = !seen.contains(t);
        seen.push(*t);
        fresh
    });
    Ok(schedule)
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let inverse = config.class() == "DPMSolverMultistepInverseScheduler";
    let algorithm = Algorithm::of(config, &["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"])?;
    let kind = config.choice("prediction_type", if algorithm.on_data() { FLOW_TYPES } else { TYPES })?;
    let solver_order = config.count("solver_order", 1, 3)?;
    if solver_order == 3 && (algorithm == Algorithm::SdeDpm || (inverse && algorithm.stochastic())) {
        return Err(SamplerError::config("solver_order", "1 or 2 for this algorithm_type", "3"));
    }
    let clip = threshold(config)?;
    let points = points(config, &schedule.sigmas);
    let n = schedule.timesteps.len();
    let ends_in_zero = !inverse && config.get("final_sigmas_type") == "zero";
    let solver = Multistep::of(config, algorithm, (solver_order, options.begin_index, n), ends_in_zero)?;
    Ok((options.begin_index..n)
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = schedule.sigmas[i];
            convert(&mut row, algorithm, kind, points[i], &clip);
            row.next = solver.next(&points, i);
            row
        })
        .collect())
}
