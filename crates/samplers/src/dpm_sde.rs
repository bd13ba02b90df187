//! DPM++ SDE with Brownian-tree noise (k-diffusion `sample_dpmpp_sde`, r = 1/2): two evaluations a step.
//!
//! Both rows are ancestral exponential steps from sigma s: to the midpoint sqrt(s s') with x0 at s, then to s' with x0 at the
//! midpoint: next = (down / s) x + (1 - down / s) x0 + up noise. The noise is the increment of one Brownian path, so it does
//! not depend on the number of steps. Source: diffusers scheduling_dpmsolver_sde.py.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::Result;
use crate::k_sigmas::{at_timesteps, doubled, finish, input_scale, respace};
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{explode, NO_SAMPLE};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{sigma_to_t, to_f32};
use crate::timesteps::spaced;

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMSolverSDEScheduler",
    evaluations: 2,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.00085, "beta_end":0.012, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false,
    "noise_sampler_seed":null, "timestep_spacing":"linspace", "steps_offset":0
}"#,
    step_options: &["sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(10_000)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let timesteps = spaced(config, train, steps)?;
    let sigmas = at_timesteps(&bars, &timesteps);
    let (timesteps, mut sigmas) = respace(config, &bars, timesteps, sigmas, false)?;
    let logs = log_f32(&train_sigmas(&bars));
    let middle: Vec<f64> = sigmas
        .windows(2)
        .map(|w| {
            let (t, next) = (-w[0].ln(), -w[1].ln());
            sigma_to_t((-(t + (next - t) * 0.5)).exp(), &logs)
        })
        .collect();
    sigmas.push(0.0);
    let (mut timesteps, sigmas) = doubled(timesteps, to_f32(&sigmas));
    middle.iter().enumerate().for_each(|(k, t)| timesteps[2 * k + 1] = *t);
    Ok(finish(config, Schedule { timesteps, sigmas, order: 2, bars, steps, ..Schedule::default() }))
}

/// -ln(sigma) and its inverse in f32: the ends of a Brownian increment must be the reference's to the last digit.
fn time(sigma: f64) -> f32 {
    -(sigma.ln() as f32)
}

fn level(t: f32) -> f64 {
    f64::from(f64::from(-t).exp() as f32)
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let sigmas = &schedule.sigmas;
    let high = sigmas.iter().copied().fold(0.0, f64::max);
    let low = sigmas.iter().copied().filter(|s| *s > 0.0).fold(f64::INFINITY, f64::min);
    let scale = options.s_noise.unwrap_or(1.0);
    Ok((options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let first = (i - options.begin_index).is_multiple_of(2);
            let (from, end) = if first { (sigmas[i], sigmas[i + 1]) } else { (sigmas[i - 1], sigmas[i]) };
            let middle = (from * end).sqrt();
            row.sigma = if first { from } else { middle };
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            if end == 0.0 {
                row.next = reg("x0");
                return row;
            }
            let to = if first { middle } else { end };
            let up = to.min((to * to * (from * from - to * to) / (from * from)).sqrt());
            let down = (to * to - up * up).sqrt();
            let base = if first { reg("sample") } else { reg(format!("s{}", i - 1)) };
            if first {
                row.save.push((format!("s{i}"), reg("sample")));
            }
            let (t, t_next) = (time(from), time(end));
            let t_to = if first { t + (t_next - t) * 0.5 } else { t_next };
            row.noise = Some(Noise::Brownian { from: level(t), to: level(t_to), low, high });
            row.next = base * (down / from) + reg("x0") * (1.0 - down / from) + reg("noise") * (scale * up);
            row
        })
        .collect())
}
