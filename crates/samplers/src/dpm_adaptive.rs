//! DPM adaptive (k-diffusion `sample_dpm_adaptive`): DPM-Solver-23 or -12, arXiv:2206.00927, with an embedded error estimate.
//!
//! One step from s to t = s + h, times being -ln(sigma): the evaluations at s, s + r1 h (and s + r2 h) give a step of the higher order
//! (`next`) and, without a further evaluation, one of the lower order (`estimate`). Their difference decides whether the step stands
//! and how long the next one is, so a run is no fixed plan: whoever drives it plans one step at a time, as a run over two `sigmas`. A plan by
//! a number of steps has that many equal ones in ln(sigma). Runs end at the lowest training level, not at zero.
//! Formulas in [`crate::dpm_fast::solver_step`]; the estimate of order 3 is a step of order 2 with r = 1/3.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::dpm_fast::{check_eta, solver_step, target};
use crate::error::{Result, SamplerError};
use crate::k_family;
use crate::k_sigmas::finish;
use crate::lin::reg;
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{exponential, sigma_to_t};

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMAdaptiveScheduler",
    evaluations: 3,
    compatible: true,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "timestep_spacing":"linspace", "steps_offset":0, "solver_order":3, "rtol":0.05, "atol":0.0078,
    "h_init":0.05, "pcoeff":0.0, "icoeff":1.0, "dcoeff":0.0, "accept_safety":0.81, "eta":0.0
}"#,
    step_options: &["sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::WithKey("eta"),
    check,
    schedule,
    rows,
};

fn check(config: &mut Config) -> Result<()> {
    check_eta(config)?;
    config.count("solver_order", 2, 3)?;
    for key in ["rtol", "atol", "h_init", "accept_safety"] {
        let value = config.number(key)?;
        if !(value > 0.0 && value.is_finite()) {
            return Err(SamplerError::config(key, "a number above 0", value.to_string()));
        }
    }
    ["pcoeff", "icoeff", "dcoeff"].iter().try_for_each(|key| config.number(key).map(|_| ()))
}

/// Levels at which steps begin and end.
fn levels(options: &PlanOptions, bars: &[f32]) -> Result<Vec<f64>> {
    let train = train_sigmas(bars);
    let (high, low) = (f64::from(train[train.len() - 1]), f64::from(train[0]));
    let levels = match options.custom_sigmas()? {
        Some(list) => list,
        None => exponential(high, low, options.steps_only(10_000)? + 1),
    };
    match levels.last() {
        Some(&last) if last > 0.0 => Ok(levels),
        _ => Err(SamplerError::argument("sigmas", "descending numbers above 0 (this sampler stops above zero)", format!("{levels:?}"))),
    }
}

fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let bars = alphas_cumprod(config, COMMON)?;
    let logs = log_f32(&train_sigmas(&bars));
    let levels = levels(options, &bars)?;
    let lowest = f64::from(train_sigmas(&bars[..1])[0]);
    let order = config.count("solver_order", 2, 3)?;
    let eta = config.number("eta")?;
    let inner = |w: &[f64]| -> Vec<f64> {
        let down = target(eta, w[0], w[1], lowest).0;
        (0..order).map(|place| w[0] * (down / w[0]).powf(place as f64 / order as f64)).collect()
    };
    let mut sigmas: Vec<f64> = levels.windows(2).flat_map(inner).collect();
    let timesteps = sigmas.iter().map(|&s| sigma_to_t(s, &logs)).collect();
    sigmas.extend(levels.last());
    Ok(finish(config, Schedule { timesteps, sigmas, order, bars, steps: levels.len() - 1, extra: levels, ..Schedule::default() }))
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let (order, sigmas, levels) = (schedule.order, &schedule.sigmas, &schedule.extra);
    if !options.begin_index.is_multiple_of(order) {
        return Err(SamplerError::argument("beginIndex", format!("a multiple of {order}"), options.begin_index.to_string()));
    }
    let (lowest, eta) = (f64::from(train_sigmas(&schedule.bars[..1])[0]), config.number("eta")?);
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let (step, place) = (i / order, i % order);
            let from = levels[step];
            let (down, up) = target(eta, from, levels[step + 1], lowest);
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            row.value = Some((reg("sample") - reg("x0")) * (1.0 / sigmas[i]));
            if place == 0 {
                row.save.push((format!("s{i}"), reg("sample")));
            }
            let (last, base) = (place + 1 == order, i - place);
            row.next = solver_step(order, place, base, from, if last { down } else { sigmas[i + 1] });
            if last {
                let differences = (reg(format!("m{}", base + 1)) - reg(format!("m{base}"))) * (1.5 * (from - down));
                let first = solver_step(1, 0, base, from, down);
                row.estimate = Some(if order == 3 { first - differences } else { first });
                if up > 0.0 {
                    row.noise = Some(Noise::Normal);
                    row.next = row.next + reg("noise") * (up * options.s_noise.unwrap_or(1.0));
                }
            }
            Ok(row)
        })
        .collect()
}
