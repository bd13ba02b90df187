//! DPM++ 2S ancestral (k-diffusion `sample_dpmpp_2s_ancestral`): a midpoint step to the down part of the next level, then noise.
//!
//! h = ln(s / down), r = 1/2: u = e^(-h/2) x + (1 - e^(-h/2)) x0, next = e^-h x + (1 - e^-h) x0(u) + up noise; the key
//! `eta` (default 1) is the share of fresh noise. Two evaluations a step; the last step is one Euler step to zero.

use crate::betas::{log_f32, train_sigmas};
use crate::config::Config;
use crate::dpm_fast::check_eta;
use crate::error::Result;
use crate::euler::split;
use crate::euler_cfg_pp::unprompted;
use crate::k_family;
use crate::k_sigmas::doubled;
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::sigma_to_t;

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMPlusPlus2SAncestralScheduler",
    evaluations: 2,
    compatible: true,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "prediction_type":"epsilon",
    "timestep_spacing":"linspace", "steps_offset":0, "eta":1.0
}"#,
    step_options: &["sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check: |config| config.check_sigma_flags().and_then(|()| check_eta(config)),
    schedule,
    rows,
};

pub(crate) const CFG_PP: Entry = Entry { class: "DPMPlusPlus2SAncestralCFGPlusPlusScheduler", rows: cfg_pp_rows, ..ENTRY };

fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let mut schedule = k_family::schedule(config, options)?;
    let eta = config.number("eta")?;
    let logs = log_f32(&train_sigmas(&schedule.bars));
    let middle: Vec<f64> = schedule.sigmas.windows(2).map(|w| sigma_to_t((w[0] * split(w[0], w[1], eta).0).sqrt(), &logs)).collect();
    (schedule.timesteps, schedule.sigmas) = doubled(schedule.timesteps, schedule.sigmas);
    (0..schedule.timesteps.len() / 2).for_each(|k| schedule.timesteps[2 * k + 1] = f64::from(middle[k] as f32));
    schedule.order = 2;
    Ok(schedule)
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, |_, _| Lin::default())
}

/// CFG++ (ComfyUI `sample_dpmpp_2s_ancestral_cfg_pp`): x is moved by the guided prediction at s less the unconditional one of the evaluation.
fn cfg_pp_rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    steps(config, options, schedule, |guided, sigma| guided - unprompted(config, sigma))
}

/// `shift`: by how much the step's start x moves, from the guided prediction at s and the level of the evaluation.
fn steps(config: &Config, options: &PlanOptions, schedule: &Schedule, shift: impl Fn(Lin, f64) -> Lin) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    let eta = config.number("eta")?;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let first = (i - options.begin_index).is_multiple_of(2);
            let (from, to) = if first { (sigmas[i], sigmas[i + 1]) } else { (sigmas[i - 1], sigmas[i]) };
            let (down, up) = split(from, to, eta);
            let middle = (from * down).sqrt();
            let level = if first { from } else { middle };
            let mut row = k_family::row(config, schedule, i, level)?;
            if to == 0.0 {
                row.next = reg("x0");
            } else if first {
                row.save.push((format!("s{i}"), reg("sample")));
                let guided = k_family::keep(&mut row);
                row.next = (reg("sample") + shift(guided, level)) * (middle / from) + reg("x0") * (1.0 - middle / from);
            } else {
                row.noise = (up > 0.0).then_some(Noise::Normal);
                let noise = reg("noise") * (up * options.s_noise.unwrap_or(1.0));
                let start = reg(format!("s{}", i - 1)) + shift(reg(format!("m{}", i - 1)), level);
                row.next = start * (down / from) + reg("x0") * (1.0 - down / from) + noise;
            }
            Ok(row)
        })
        .collect()
}
