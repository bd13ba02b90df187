//! Heun: Euler, then the mean of both slopes; two evaluations a step. arXiv:2206.00364 algorithm 1.
//!
//! d = (x - x0) / sigma; first row: x' = x + d (s' - s); second row: next = x + (d + d') / 2 (s' - s).
//! Source: diffusers scheduling_heun_discrete.py.

use crate::betas::alphas_cumprod;
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::euler::refuse_respaced;
use crate::k_sigmas::{advance, at_timesteps, doubled, finish, input_scale, respace, slope};
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{clamp, explode, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::to_f32;
use crate::timesteps::spaced;

pub(crate) const ENTRY: Entry = Entry {
    class: "HeunDiscreteScheduler",
    evaluations: 2,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.00085, "beta_end":0.012, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false,
    "clip_sample":false, "clip_sample_range":1.0, "timestep_spacing":"linspace", "steps_offset":0
}"#,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

const BETAS: &[&str] = &["linear", "scaled_linear", "squaredcos_cap_v2", "exp"];

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    options.no_sigmas()?;
    refuse_respaced(config, options)?;
    let bars = alphas_cumprod(config, BETAS)?;
    let timesteps = match options.custom_timesteps(train)? {
        Some(list) => list,
        None => {
            let missing = || SamplerError::argument("numInferenceSteps", "an integer from 1 to 10000", "nothing");
            to_f32(&spaced(config, train, options.count(10_000)?.ok_or_else(missing)?)?)
        }
    };
    let steps = timesteps.len();
    let sigmas = at_timesteps(&bars, &timesteps);
    let (timesteps, mut sigmas) = respace(config, &bars, timesteps, sigmas, true)?;
    sigmas.push(0.0);
    let (timesteps, sigmas) = doubled(to_f32(&timesteps), to_f32(&sigmas));
    Ok(finish(config, Schedule { timesteps, sigmas, order: 2, bars, steps, ..Schedule::default() }))
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let clip = clamp(config)?;
    let sigmas = &schedule.sigmas;
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = sigmas[i];
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            row.clip = clip.clone();
            let slope = slope(&mut row, sigmas[i]);
            if (i - options.begin_index).is_multiple_of(2) {
                row.save.push((format!("s{i}"), reg("sample")));
                advance(&mut row, reg("sample"), slope, sigmas[i + 1] - sigmas[i]);
            } else {
                let mean = (reg(format!("e{}", i - 1)) + slope) * 0.5;
                advance(&mut row, reg(format!("s{}", i - 1)), mean, sigmas[i] - sigmas[i - 1]);
            }
            row
        })
        .collect())
}
