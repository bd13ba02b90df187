//! Euler and Euler ancestral, arXiv:2206.00364 algorithm 2 and k-diffusion `sample_euler_ancestral`.
//!
//! d = (x - x0) / s, next = x + d (s' - s). Churn first raises sigma to s = sigma (1 + gamma). Ancestral splits s' into
//! down^2 + up^2, up^2 = s'^2 (s^2 - s'^2) / s^2, and adds up * noise.
//! Source: diffusers scheduling_euler_discrete.py, scheduling_euler_ancestral_discrete.py.

use crate::betas::{finite_alphas_cumprod, log_f32, torch_linspace, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::k_sigmas::{advance, at_timesteps, finish, input_scale, respace, slope};
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{explode, NO_SAMPLE, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigma_schedules::named;
use crate::sigmas::{sigma_to_t_f32, spacing, to_f32, Spacing};
use crate::timesteps::spaced;

pub(crate) const ENTRY: Entry = Entry {
    class: "EulerDiscreteScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "interpolation_type":"linear", "use_karras_sigmas":false, "use_exponential_sigmas":false,
    "use_beta_sigmas":false, "sigma_min":null, "sigma_max":null, "timestep_spacing":"linspace", "timestep_type":"discrete",
    "steps_offset":0, "rescale_betas_zero_snr":false, "final_sigmas_type":"zero"
}"#,
    step_options: &["sChurn", "sTmin", "sTmax", "sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::Position,
    stochastic: Stochastic::WithOption("sChurn"),
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

pub(crate) const ANCESTRAL: Entry = Entry {
    class: "EulerAncestralDiscreteScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "timestep_spacing":"linspace", "steps_offset":0, "rescale_betas_zero_snr":false
}"#,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check: |_| Ok(()),
    schedule: ancestral_schedule,
    rows: ancestral_rows,
};

fn continuous(config: &Config) -> bool {
    config.get("timestep_type") == "continuous" && config.get("prediction_type") == "v_prediction"
}

/// The final noise level by `final_sigmas_type`.
pub(crate) fn final_sigma(config: &Config, bars: &[f32]) -> Result<f64> {
    Ok(match config.choice("final_sigmas_type", &["zero", "sigma_min"])? {
        "zero" => 0.0,
        _ => f64::from(train_sigmas(&bars[..1])[0]),
    })
}

/// Custom timesteps make no sense where the sigmas are respaced.
pub(crate) fn refuse_respaced(config: &Config, options: &PlanOptions) -> Result<()> {
    if let (Some(list), true) = (&options.timesteps, spacing(config) != Spacing::Timesteps) {
        return Err(SamplerError::argument("timesteps", "nothing where the config respaces the sigmas", format!("{list:?}")));
    }
    Ok(())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    config.choice("timestep_type", &["discrete", "continuous"])?;
    refuse_respaced(config, options)?;
    let bars = finite_alphas_cumprod(config, COMMON)?;
    let (timesteps, sigmas) = match (options.custom_sigmas()?, options.custom_timesteps(train)?) {
        (Some(list), _) => {
            let logs = log_f32(&train_sigmas(&bars));
            let sigmas = to_f32(&list);
            let t = |s: f64| {
                let (w, low) = sigma_to_t_f32(s as f32, &logs);
                f64::from(1.0 - w) * low as f64 + f64::from(w) * (low + 1) as f64
            };
            (sigmas[..sigmas.len() - 1].iter().map(|&s| t(s)).collect(), sigmas)
        }
        (None, custom) => {
            if let (Some(list), true) = (&custom, continuous(config)) {
                return Err(SamplerError::argument("timesteps", "nothing with continuous v-prediction", format!("{list:?}")));
            }
            let timesteps = match custom {
                Some(list) => list,
                None => {
                    let missing = || SamplerError::argument("numInferenceSteps", "an integer from 1 to 10000", "nothing");
                    to_f32(&spaced(config, train, options.count(10_000)?.ok_or_else(missing)?)?)
                }
            };
            by_timesteps(config, &bars, timesteps)?
        }
    };
    let timesteps = match continuous(config) {
        true => sigmas[..sigmas.len() - 1].iter().map(|s| 0.25 * f64::from(s.ln() as f32)).collect(),
        false => timesteps,
    };
    let steps = timesteps.len();
    let schedule = Schedule { timesteps: to_f32(&timesteps), sigmas, order: 1, bars, steps, ..Schedule::default() };
    Ok(finish(config, schedule))
}

fn by_timesteps(config: &Config, bars: &[f32], timesteps: Vec<f64>) -> Result<(Vec<f64>, Vec<f64>)> {
    let sigmas = match config.choice("interpolation_type", &["linear", "log_linear"])? {
        "linear" => at_timesteps(bars, &timesteps),
        _ => {
            let logs = log_f32(&train_sigmas(bars));
            let line = torch_linspace(logs[logs.len() - 1], logs[0], timesteps.len() + 1);
            line.iter().map(|l| f64::from(f64::from(*l).exp() as f32)).collect()
        }
    };
    let (timesteps, mut sigmas) = respace(config, bars, timesteps, sigmas, true)?;
    sigmas.push(final_sigma(config, bars)?);
    Ok((timesteps, to_f32(&sigmas)))
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = match config.get("prediction_type").as_str() {
        Some("original_sample") => "sample",
        _ => config.choice("prediction_type", TYPES)?,
    };
    let sigmas = &schedule.sigmas;
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let sigma = sigmas[i];
            row.sigma = sigma;
            row.input_scale = input_scale(sigma);
            let raised = churn(&mut row, options, sigmas.len() - 1);
            explode(&mut row, kind, raised, sigma);
            let slope = slope(&mut row, raised);
            advance(&mut row, reg("sample"), slope, sigmas[i + 1] - raised);
            row
        })
        .collect())
}

/// Adds churn to a row where its sigma lies in [s_tmin, s_tmax]; gives the raised sigma.
pub(crate) fn churn(row: &mut Row, options: &PlanOptions, steps: usize) -> f64 {
    let inside = options.s_tmin <= row.sigma && row.sigma <= options.s_tmax.unwrap_or(f64::INFINITY);
    let gamma = if inside { (options.s_churn / steps as f64).min(2f64.sqrt() - 1.0) } else { 0.0 };
    let raised = row.sigma * (gamma + 1.0);
    if gamma > 0.0 {
        let amount = options.s_noise.unwrap_or(1.0) * (raised * raised - row.sigma * row.sigma).sqrt();
        row.noise = Some(Noise::Normal);
        row.churn = Some(reg("sample") + reg("noise") * amount);
    }
    raised
}

pub(crate) fn ancestral_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(10_000)?;
    let bars = finite_alphas_cumprod(config, COMMON)?;
    let timesteps = to_f32(&spaced(config, train, steps)?);
    let sigmas = at_timesteps(&bars, &timesteps);
    let (timesteps, mut sigmas) = match named(config) {
        Some(_) => respace(config, &bars, timesteps, sigmas, true)?,
        None => (timesteps, sigmas),
    };
    sigmas.push(0.0);
    let schedule = Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps, ..Schedule::default() };
    Ok(finish(config, schedule))
}

/// Down and up parts of an ancestral step from `from` to `to` with a share `eta` of fresh noise.
pub(crate) fn split(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).sqrt());
    ((to * to - up * up).sqrt(), up)
}

pub(crate) fn ancestral_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let sigmas = &schedule.sigmas;
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let (down, up) = split(sigmas[i], sigmas[i + 1], 1.0);
            row.sigma = sigmas[i];
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            row.noise = Some(Noise::Normal);
            let (slope, dt) = (slope(&mut row, sigmas[i]), down - sigmas[i]);
            advance(&mut row, reg("sample"), slope, dt);
            row.next = row.next + reg("noise") * up;
            row
        })
        .collect())
}
