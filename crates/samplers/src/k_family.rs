//! What the samplers that only k-diffusion and ComfyUI have share: config, schedule and row.
//!
//! All work on the variance-exploding form x = x0 + sigma eps with t = -ln(sigma), so that a step of length h = t' - t scales
//! the sample by e^-h = sigma' / sigma.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::Result;
use crate::k_sigmas::{at_timesteps, finish, input_scale, respace};
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{explode, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{sigma_to_t, to_f32};
use crate::timesteps::spaced;

/// Defaults of every class of the family: those of LMSDiscreteScheduler.
pub(crate) const DEFAULTS: &str = r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "prediction_type":"epsilon",
    "timestep_spacing":"linspace", "steps_offset":0
}"#;

/// The rows of a class.
type Rows = fn(&Config, &PlanOptions, &Schedule) -> Result<Vec<Row>>;

/// A class of the family, without noise of its own.
pub(crate) const fn entry(class: &'static str, rows: Rows) -> Entry {
    Entry {
        class,
        evaluations: 1,
        compatible: true,
        listed: false,
        defaults_json: DEFAULTS,
        step_options: &[],
        noise: NoiseRule::Exploding,
        velocity: Velocity::None,
        stochastic: Stochastic::Never,
        check: |config| config.check_sigma_flags(),
        schedule,
        rows,
    }
}

/// Real timesteps and sigmas with a final zero: custom ones, or by spacing and respacing.
pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let bars = alphas_cumprod(config, COMMON)?;
    if let Some(sigmas) = options.custom_sigmas()? {
        let logs = log_f32(&train_sigmas(&bars));
        let timesteps: Vec<f64> = sigmas[..sigmas.len() - 1].iter().map(|&s| sigma_to_t(s, &logs)).collect();
        let steps = timesteps.len();
        return Ok(finish(config, Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps, ..Schedule::default() }));
    }
    let steps = options.steps_only(10_000)?;
    let timesteps = to_f32(&spaced(config, train, steps)?);
    let sigmas = at_timesteps(&bars, &timesteps);
    let (timesteps, mut sigmas) = respace(config, &bars, timesteps, sigmas, true)?;
    sigmas.push(0.0);
    Ok(finish(config, Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps, ..Schedule::default() }))
}

/// A row for each noise level of a run; `step` says what a row from one level to the next ends on.
pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule, step: impl Fn(&mut Row, f64, f64) -> Lin) -> Result<Vec<Row>> {
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let (from, to) = (schedule.sigmas[i], schedule.sigmas[i + 1]);
            let mut row = row(config, schedule, i, from)?;
            row.next = step(&mut row, from, to);
            Ok(row)
        })
        .collect()
}

/// Normal noise that a row adds, times `sNoise`; nothing where `amount` is zero.
pub(crate) fn fresh_noise(row: &mut Row, options: &PlanOptions, amount: f64) -> Option<Lin> {
    (amount > 0.0).then(|| {
        row.noise = Some(Noise::Normal);
        reg("noise") * (amount * options.s_noise.unwrap_or(1.0))
    })
}

/// A row at noise level `sigma` with its clean prediction.
pub(crate) fn row(config: &Config, schedule: &Schedule, index: usize, sigma: f64) -> Result<Row> {
    let kind = config.choice("prediction_type", TYPES)?;
    let mut row = Row::at(schedule, index);
    row.sigma = sigma;
    row.input_scale = input_scale(sigma);
    explode(&mut row, kind, sigma, sigma);
    Ok(row)
}

/// The clean prediction kept for later rows, as register `m<i>`.
pub(crate) fn keep(row: &mut Row) -> Lin {
    row.value = Some(reg("x0"));
    reg(format!("m{}", row.index))
}
