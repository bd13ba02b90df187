//! DDIM, arXiv:2010.02502, and its inverse (arXiv:2302.05543 style inversion).
//!
//! Legend: a = abar at t, p = abar at the previous timestep; x0 = predicted clean sample, eps = predicted noise.
//! Formula (12): next = sqrt(p) x0 + sqrt(1 - p - s^2) eps + s noise, s = eta sqrt((1 - p)/(1 - a) (1 - a/p)) (16).
//! Source: diffusers scheduling_ddim.py, scheduling_ddim_inverse.py.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{clamp, preserving, threshold, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::inclusive;

pub(crate) const ENTRY: Entry = Entry {
    class: "DDIMScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "clip_sample":true, "set_alpha_to_one":true, "steps_offset":0, "prediction_type":"epsilon", "thresholding":false,
    "dynamic_thresholding_ratio":0.995, "clip_sample_range":1.0, "sample_max_value":1.0, "timestep_spacing":"leading",
    "rescale_betas_zero_snr":false
}"#,
    step_options: &["eta", "useClippedModelOutput"],
    noise: NoiseRule::Bars,
    velocity: Velocity::Bars,
    stochastic: Stochastic::WithOption("eta"),
    check: |_| Ok(()),
    schedule,
    rows,
};

pub(crate) const INVERSE: Entry = Entry {
    class: "DDIMInverseScheduler",
    evaluations: 1,
    compatible: false,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "clip_sample":true, "set_alpha_to_one":true, "steps_offset":0, "prediction_type":"epsilon", "clip_sample_range":1.0,
    "timestep_spacing":"leading", "rescale_betas_zero_snr":false
}"#,
    step_options: &[],
    noise: NoiseRule::None,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |_| Ok(()),
    schedule: inverse_schedule,
    rows: inverse_rows,
};

/// abar at an integer timestep, or an error that names it.
pub(crate) fn bar(schedule: &Schedule, t: f64) -> Result<f64> {
    let index = if t >= 0.0 { t as usize } else { usize::MAX };
    schedule.bars.get(index).map(|&a| f64::from(a)).ok_or_else(|| {
        SamplerError::config("steps_offset", format!("an offset that keeps timesteps from 0 to {}", schedule.bars.len() - 1), t.to_string())
    })
}

/// abar before the first training step: 1 with `set_alpha_to_one`, else that of step 0.
pub(crate) fn final_bar(config: &Config, schedule: &Schedule) -> f64 {
    if config.flag("set_alpha_to_one") {
        1.0
    } else {
        f64::from(schedule.bars[0])
    }
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(train)?;
    let bars = alphas_cumprod(config, COMMON)?;
    Ok(Schedule { timesteps: inclusive(config, train, steps)?, integer: true, init_noise_sigma: 1.0, order: 1, bars, steps, ..Schedule::default() })
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let clip = threshold(config)?.or(clamp(config)?);
    let eta = options.eta.unwrap_or(0.0);
    let stride = (config.train_steps()? / schedule.steps) as f64;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let a = bar(schedule, row.t)?;
            let p = if row.t >= stride { bar(schedule, row.t - stride)? } else { final_bar(config, schedule) };
            let prediction = preserving(kind, a.sqrt(), (1.0 - a).sqrt());
            let variance = (1.0 - p) / (1.0 - a) * (1.0 - a / p);
            let s = eta * variance.max(0.0).sqrt();
            let eps = match options.use_clipped_model_output {
                true => (reg("sample") - reg("x0") * a.sqrt()) * (1.0 / (1.0 - a).sqrt()),
                false => prediction.eps,
            };
            let direction = 1.0 - p - s * s;
            let direction = if direction > -1e-9 { direction.max(0.0) } else { direction };
            row.sigma = ((1.0 - a) / a).sqrt();
            row.x0 = prediction.x0;
            row.clip = clip.clone();
            row.next = reg("x0") * p.sqrt() + eps * direction.sqrt();
            if eta > 0.0 {
                row.noise = Some(Noise::Normal);
                row.next = row.next + reg("noise") * s;
            }
            Ok(row)
        })
        .collect()
}

pub(crate) fn inverse_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    config.choice("timestep_spacing", &["leading", "trailing"])?;
    let mut schedule = schedule(config, options)?;
    schedule.timesteps.reverse();
    Ok(schedule)
}

pub(crate) fn inverse_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let clip = clamp(config)?;
    let train = config.train_steps()?;
    let stride = (train / schedule.steps) as f64;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let from = (row.t - stride).min(train as f64 - 1.0);
            let a = if from >= 0.0 { bar(schedule, from)? } else { final_bar(config, schedule) };
            let p = bar(schedule, row.t)?;
            let prediction = preserving(kind, a.sqrt(), (1.0 - a).sqrt());
            row.sigma = ((1.0 - a) / a).sqrt();
            row.x0 = prediction.x0;
            row.clip = clip.clone();
            row.next = reg("x0") * p.sqrt() + prediction.eps * (1.0 - p).sqrt();
            Ok(row)
        })
        .collect()
}
