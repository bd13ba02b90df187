//! KDPM2 and KDPM2 ancestral (k-diffusion `sample_dpm_2`, `sample_dpm_2_ancestral`): the midpoint in log sigma, two
//! evaluations a step. arXiv:2206.00364 appendix; DPM-Solver-2 of arXiv:2206.00927.
//!
//! Row one goes from s to the midpoint m = sqrt(s s') (ancestral: of s and its down part), row two from s to s' along the
//! slope at m. Source: diffusers scheduling_k_dpm_2_discrete.py, scheduling_k_dpm_2_ancestral_discrete.py. The midpoints are
//! computed in f32 as there, since their timesteps follow from them.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::Result;
use crate::k_sigmas::{advance, at_timesteps, finish, input_scale, respace, slope};
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{explode, NO_SAMPLE};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{sigma_to_t_f32, spacing, to_f32, Spacing};
use crate::timesteps::spaced;

pub(crate) const ENTRY: Entry = Entry {
    class: "KDPM2DiscreteScheduler",
    evaluations: 2,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.00085, "beta_end":0.012, "beta_schedule":"linear", "trained_betas":null,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "prediction_type":"epsilon",
    "timestep_spacing":"linspace", "steps_offset":0
}"#,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

pub(crate) const ANCESTRAL: Entry =
    Entry { class: "KDPM2AncestralDiscreteScheduler", stochastic: Stochastic::Always, schedule: ancestral_schedule, rows: ancestral_rows, ..ENTRY };

fn ln(x: f32) -> f32 {
    f64::from(x).ln() as f32
}

/// exp of the mean of logarithms, as torch.lerp with weight 1/2 rounds it.
fn midpoint(a: f32, b: f32) -> f32 {
    let (a, b) = (ln(a), ln(b));
    f64::from(b - (b - a) * 0.5).exp() as f32
}

/// First once, the others twice, the last once more.
fn interleave(values: &[f32]) -> Vec<f64> {
    let twice = values[1..].iter().flat_map(|v| [*v, *v]);
    values[..1].iter().copied().chain(twice).chain(values.last().copied()).map(f64::from).collect()
}

/// Base timesteps and f32 sigmas with the final zero.
fn base(config: &Config, options: &PlanOptions) -> Result<(Vec<f64>, Vec<f32>, Vec<f32>)> {
    let train = config.train_steps()?;
    let steps = options.steps_only(10_000)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let timesteps = to_f32(&spaced(config, train, steps)?);
    let sigmas = at_timesteps(&bars, &timesteps);
    let (mut timesteps, mut sigmas) = respace(config, &bars, timesteps, sigmas, true)?;
    if spacing(config) == Spacing::Karras {
        timesteps.iter_mut().for_each(|t| *t = t.round_ties_even());
    }
    sigmas.push(0.0);
    Ok((timesteps, sigmas.iter().map(|s| *s as f32).collect(), bars))
}

fn build(config: &Config, bars: Vec<f32>, timesteps: Vec<f64>, sigmas: &[f32], between: &[f32], extra: Vec<f64>) -> Schedule {
    let logs = log_f32(&train_sigmas(&bars));
    let t = |s: f32| {
        let (w, low) = sigma_to_t_f32(s, &logs);
        f64::from((1.0 - w) * low as f32 + w * (low + 1) as f32)
    };
    let rest = timesteps[1..].iter().zip(between).flat_map(|(next, mid)| [t(*mid), *next]);
    let all = timesteps[..1].iter().copied().chain(rest).collect();
    let steps = timesteps.len();
    finish(config, Schedule { timesteps: all, sigmas: interleave(sigmas), order: 2, bars, steps, extra, ..Schedule::default() })
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let (timesteps, sigmas, bars) = base(config, options)?;
    let n = timesteps.len();
    let mids: Vec<f32> = (0..=n).map(|k| if k == 0 || k == n { 0.0 } else { midpoint(sigmas[k], sigmas[k - 1]) }).collect();
    let between = mids[1..n].to_vec();
    Ok(build(config, bars, timesteps, &sigmas, &between, interleave(&mids)))
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let (sigmas, mids) = (&schedule.sigmas, &schedule.extra);
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let first = (i - options.begin_index).is_multiple_of(2);
            row.sigma = if first { sigmas[i] } else { mids[i] };
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            let slope = slope(&mut row, sigma);
            if first {
                row.save.push((format!("s{i}"), reg("sample")));
                advance(&mut row, reg("sample"), slope, mids[i + 1] - sigmas[i]);
            } else {
                advance(&mut row, reg(format!("s{}", i - 1)), slope, sigmas[i] - sigmas[i - 1]);
            }
            row
        })
        .collect())
}

/// Midpoints, up parts and down parts of every sigma, one after the other in `extra`.
pub(crate) fn ancestral_schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let (timesteps, s, bars) = base(config, options)?;
    let n = timesteps.len();
    let next = |k: usize| s.get(k + 1).copied().unwrap_or(0.0);
    let up: Vec<f32> = (0..=n)
        .map(|k| {
            let to = next(k);
            if s[k] == 0.0 {
                0.0
            } else {
                (to * to * (s[k] * s[k] - to * to) / (s[k] * s[k])).sqrt()
            }
        })
        .collect();
    let down: Vec<f32> = (0..=n).map(|k| if k == n { 0.0 } else { (next(k) * next(k) - up[k] * up[k]).sqrt() }).collect();
    let mids: Vec<f32> = (0..=n).map(|k| if k + 1 >= n { 0.0 } else { midpoint(s[k], down[k]) }).collect();
    let between = mids[..n - 1].to_vec();
    let extra = [interleave(&mids), interleave(&up), interleave(&down)].concat();
    Ok(build(config, bars, timesteps, &s, &between, extra))
}

pub(crate) fn ancestral_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let sigmas = &schedule.sigmas;
    let (mids, rest) = schedule.extra.split_at(sigmas.len());
    let (up, down) = rest.split_at(sigmas.len());
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let first = (i - options.begin_index).is_multiple_of(2);
            row.sigma = if first { sigmas[i] } else { mids[i - 1] };
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            let slope = slope(&mut row, sigma);
            if first {
                row.save.push((format!("s{i}"), reg("sample")));
                advance(&mut row, reg("sample"), slope, mids[i] - sigmas[i]);
            } else {
                row.noise = Some(Noise::Normal);
                advance(&mut row, reg(format!("s{}", i - 1)), slope, down[i - 1] - sigmas[i - 1]);
                row.next = row.next + reg("noise") * up[i - 1];
            }
            row
        })
        .collect())
}
