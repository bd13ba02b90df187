//! iPNDM: improved pseudo linear multistep on a sine schedule (arXiv:2202.09778, as in v-diffusion).
//!
//! Legend: sigma = sin^2(pi s / 2) with s from 1 to 0, alpha = sqrt(1 - sigma^2); e = x sigma + output alpha; with the
//! Adams-Bashforth combination e of the newest: next = alpha' (x - sigma e) / alpha + sigma' e. Timesteps lie in (0, 1].
//! Source: diffusers scheduling_ipndm.py. f32 as there.

use crate::betas::torch_linspace;
use crate::config::Config;
use crate::error::Result;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::pndm::adams_bashforth;
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use serde_json::Value;
use std::f64::consts::PI;

pub(crate) const ENTRY: Entry = Entry {
    class: "IPNDMScheduler",
    evaluations: 1,
    compatible: false,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "trained_betas":null
}"#,
    step_options: &[],
    noise: NoiseRule::None,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |_| Ok(()),
    schedule,
    rows,
};

fn levels(config: &Config, n: usize) -> Result<Vec<f32>> {
    if let Value::Array(_) = config.get("trained_betas") {
        return crate::betas::betas(config, &[]);
    }
    let steps = torch_linspace(1.0, 0.0, n + 1);
    let angle = |s: f32| f64::from(f64::from(s * PI as f32) as f32 / 2.0);
    Ok(steps[..n].iter().chain(&[0.0]).map(|&s| (angle(s).sin() as f32).powi(2)).collect())
}

fn alpha(sigma: f64) -> f64 {
    f64::from((1.0 - (sigma * sigma) as f32).sqrt())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let steps = options.steps_only(config.train_steps()?)?;
    let levels: Vec<f64> = levels(config, steps)?.iter().map(|s| f64::from(*s)).collect();
    let t = |sigma: f64| {
        let angle = sigma.atan2(alpha(sigma)) as f32;
        f64::from(angle / PI as f32 * 2.0)
    };
    let timesteps = levels[..levels.len() - 1].iter().map(|&s| t(s)).collect();
    Ok(Schedule { timesteps, init_noise_sigma: 1.0, order: 1, steps, extra: levels, ..Schedule::default() })
}

pub(crate) fn rows(_: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let begin = options.begin_index;
    Ok((begin..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let (sigma, next_sigma) = (schedule.extra[i], schedule.extra[i + 1]);
            let (a, next_a) = (alpha(sigma), alpha(next_sigma));
            row.sigma = sigma / a.max(1e-8);
            row.x0 = reg("sample") * a - reg("output") * sigma;
            row.value = Some(reg("sample") * sigma + reg("output") * a);
            let newest = (i + 1 - begin).min(4);
            let m: Vec<_> = (0..newest).rev().map(|k| reg(format!("m{}", i - k))).collect();
            let e = adams_bashforth(&m);
            row.next = (reg("sample") - e.clone() * sigma) * (next_a / a.max(1e-8)) + e * next_sigma;
            row
        })
        .collect())
}
