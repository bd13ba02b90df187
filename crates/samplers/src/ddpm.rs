//! DDPM ancestral sampling, arXiv:2006.11239.
//!
//! Legend: a, p = abar at t and at the next visited timestep; alpha = a / p; beta = 1 - alpha. Formula (7):
//! next = sqrt(p) beta / (1 - a) x0 + sqrt(alpha) (1 - p) / (1 - a) x + s noise, s^2 by `variance_type`: a number, or by the model,
//! arXiv:2102.09672.
//! Source: diffusers scheduling_ddpm.py.

use crate::betas::alphas_cumprod;
use crate::config::Config;
use crate::ddim::bar;
use crate::error::Result;
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule, Variance};
use crate::prediction::{clamp, preserving, threshold, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::inclusive;

pub(crate) const ENTRY: Entry = Entry {
    class: "DDPMScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "variance_type":"fixed_small", "clip_sample":true, "prediction_type":"epsilon", "thresholding":false,
    "dynamic_thresholding_ratio":0.995, "clip_sample_range":1.0, "sample_max_value":1.0, "timestep_spacing":"leading",
    "steps_offset":0, "rescale_betas_zero_snr":false
}"#,
    step_options: &[],
    noise: NoiseRule::Bars,
    velocity: Velocity::Bars,
    stochastic: Stochastic::Always,
    check: |_| Ok(()),
    schedule,
    rows,
};

const BETAS: &[&str] = &["linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"];

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let (timesteps, steps) = match options.custom_timesteps(train)? {
        Some(list) => (list.clone(), list.len()),
        None => {
            let steps = options.steps_only(train)?;
            (inclusive(config, train, steps)?, steps)
        }
    };
    let bars = alphas_cumprod(config, BETAS)?;
    Ok(Schedule { timesteps, integer: true, init_noise_sigma: 1.0, order: 1, bars, steps, ..Schedule::default() })
}

/// Two timesteps that a step goes between.
#[derive(Clone, Copy)]
struct Between {
    a: f64,
    p: f64,
    alpha: f64,
}

impl Between {
    /// The posterior's variance, formula (7); never below what the reference clamps it to.
    fn posterior(self) -> f64 {
        ((1.0 - self.p) / (1.0 - self.a) * (1.0 - self.alpha)).max(1e-20)
    }
}

/// What the model says of the variance, where the kind leaves it to the model.
fn learned(kind: &str, between: Between) -> Option<Variance> {
    match kind {
        "learned" => Some(Variance::Direct),
        "learned_range" => Some(Variance::Range { min_log: between.posterior().ln(), max_log: (1.0 - between.alpha).ln() }),
        _ => None,
    }
}

/// Factor of the noise beside what the model says of it.
fn deviation(kind: &str, between: Between) -> f64 {
    let beta = 1.0 - between.alpha;
    let variance = between.posterior();
    match kind {
        "learned" | "learned_range" => 1.0,
        "fixed_small" | "fixed_small_log" => variance.sqrt(),
        "fixed_large" => beta.sqrt(),
        _ => beta.ln().sqrt(),
    }
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    rows_by(config, options, schedule, |a, p, _| a / p)
}

/// As `rows`, with alpha of a, p and the row's index as the class rounds it.
pub(crate) fn rows_by(config: &Config, options: &PlanOptions, schedule: &Schedule, alpha: impl Fn(f64, f64, usize) -> f64) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let kinds = &["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"];
    let variance = config.choice("variance_type", kinds)?;
    let clip = threshold(config)?.or(clamp(config)?);
    let timesteps = &schedule.timesteps;
    (options.begin_index..timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let a = bar(schedule, row.t)?;
            let first = timesteps.iter().position(|t| *t == row.t).unwrap_or(i);
            let p = timesteps.get(first + 1).map_or(Ok(1.0), |&t| if t >= 0.0 { bar(schedule, t) } else { Ok(1.0) })?;
            let alpha = alpha(a, p, i);
            let between = Between { a, p, alpha };
            row.sigma = ((1.0 - a) / a).sqrt();
            row.x0 = preserving(kind, a.sqrt(), (1.0 - a).sqrt()).x0;
            row.clip = clip.clone();
            row.variance = learned(variance, between);
            row.next = reg("x0") * (p.sqrt() * (1.0 - alpha) / (1.0 - a)) + reg("sample") * (alpha.sqrt() * (1.0 - p) / (1.0 - a));
            if row.t > 0.0 {
                row.noise = Some(Noise::Normal);
                row.next = row.next + reg("noise") * deviation(variance, between);
            }
            Ok(row)
        })
        .collect()
}
