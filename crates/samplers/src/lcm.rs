//! LCM and TCD: few-step samplers of distilled models, arXiv:2310.04378 and arXiv:2402.19159.
//!
//! Both pick their timesteps from the distillation schedule (`original_inference_steps`). LCM: d = c_out x0 + c_skip x,
//! next = sqrt(p) d + sqrt(1 - p) noise. TCD: jump to s = floor((1 - eta) t'), then re-noise from s to t'.
//! Legend: a, p, b = abar at t, the next timestep, and s. Source: diffusers scheduling_lcm.py, scheduling_tcd.py.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::ddim::bar;
use crate::error::{Result, SamplerError};
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{clamp, preserving, threshold, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};

pub(crate) const ENTRY: Entry = Entry {
    class: "LCMScheduler",
    evaluations: 1,
    compatible: false,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.00085, "beta_end":0.012, "beta_schedule":"scaled_linear", "trained_betas":null,
    "original_inference_steps":50, "clip_sample":false, "clip_sample_range":1.0, "set_alpha_to_one":true, "steps_offset":0,
    "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995, "sample_max_value":1.0,
    "timestep_spacing":"leading", "timestep_scaling":10.0, "rescale_betas_zero_snr":false
}"#,
    step_options: &[],
    noise: NoiseRule::Bars,
    velocity: Velocity::Bars,
    stochastic: Stochastic::Always,
    check: |_| Ok(()),
    schedule,
    rows,
};

pub(crate) const TCD: Entry =
    Entry { class: "TCDScheduler", step_options: &["eta"], stochastic: Stochastic::WithOption("eta"), rows: tcd_rows, ..ENTRY };

/// The distillation grid, ascending. TCD with its own count takes every training step instead.
fn grid(config: &Config, options: &PlanOptions, train: usize, strength: f64) -> Result<(usize, Vec<f64>)> {
    let original = match options.original_inference_steps {
        Some(n) => n,
        None => config.count("original_inference_steps", 1, 100_000)?,
    };
    let dense = config.class() == "TCDScheduler" && options.original_inference_steps.is_some();
    if original == 0 || (original > train && !dense) {
        let name = "originalInferenceSteps";
        return Err(SamplerError::argument(name, format!("an integer from 1 to {train}"), original.to_string()));
    }
    if dense {
        return Ok((original, (0..(train as f64 * strength) as usize).map(|t| t as f64).collect()));
    }
    let stride = train / original;
    Ok((original, (1..=(original as f64 * strength) as usize).map(|i| (i * stride) as f64 - 1.0).collect()))
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let strength = options.strength.unwrap_or(1.0);
    if strength > 1.0 {
        return Err(SamplerError::argument("strength", "a number from 0 to 1", strength.to_string()));
    }
    let (original, grid) = grid(config, options, train, strength)?;
    let (timesteps, steps) = match options.custom_timesteps(train)? {
        Some(list) => {
            let kept = ((list.len() as f64 * strength) as usize).min(list.len());
            (list[list.len() - kept..].to_vec(), list.len())
        }
        None => {
            let n = options.steps_only(train)?;
            if n > original || n > grid.len() {
                let most = original.min(grid.len());
                return Err(SamplerError::argument("numInferenceSteps", format!("an integer from 1 to {most}"), n.to_string()));
            }
            let index = |i: usize| (i as f64 * (grid.len() as f64 / n as f64)).floor() as usize;
            ((0..n).map(|i| grid[grid.len() - 1 - index(i)]).collect(), n)
        }
    };
    let bars = alphas_cumprod(config, COMMON)?;
    Ok(Schedule { timesteps, integer: true, init_noise_sigma: 1.0, order: 1, bars, steps, ..Schedule::default() })
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let clip = threshold(config)?.or(clamp(config)?);
    let scaling = config.number("timestep_scaling")?;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let a = bar(schedule, row.t)?;
            let p = bar(schedule, schedule.timesteps.get(i + 1).copied().unwrap_or(row.t))?;
            let scaled = row.t * scaling;
            let (skip, out) = (0.25 / (scaled * scaled + 0.25), scaled / (scaled * scaled + 0.25).sqrt());
            row.sigma = ((1.0 - a) / a).sqrt();
            row.x0 = preserving(kind, a.sqrt(), (1.0 - a).sqrt()).x0;
            row.clip = clip.clone();
            let denoised = reg("x0") * out + reg("sample") * skip;
            row.denoised = Some(denoised.clone());
            row.next = denoised;
            if i + 1 != schedule.steps {
                row.noise = Some(Noise::Normal);
                row.next = row.next * p.sqrt() + reg("noise") * (1.0 - p).sqrt();
            }
            Ok(row)
        })
        .collect()
}

pub(crate) fn tcd_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let eta = options.eta.unwrap_or(0.3);
    if !(0.0..=1.0).contains(&eta) {
        return Err(SamplerError::argument("eta", "a number from 0 to 1", eta.to_string()));
    }
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let next = schedule.timesteps.get(i + 1).copied().unwrap_or(0.0);
            let s = f64::from(((1.0 - eta) as f32 * next as f32).floor());
            let (a, p, b) = (bar(schedule, row.t)?, bar(schedule, next)?, bar(schedule, s)?);
            let prediction = preserving(kind, a.sqrt(), (1.0 - a).sqrt());
            row.sigma = ((1.0 - a) / a).sqrt();
            row.x0 = prediction.x0;
            row.next = reg("x0") * b.sqrt() + prediction.eps * (1.0 - b).sqrt();
            if eta > 0.0 && i + 1 != schedule.steps {
                row.noise = Some(Noise::Normal);
                row.next = row.next * (p / b).sqrt() + reg("noise") * (1.0 - p / b).max(0.0).sqrt();
            }
            Ok(row)
        })
        .collect()
}
