//! DPM fast (k-diffusion `sample_dpm_fast`): DPM-Solver of order 3 with a fixed number of evaluations, arXiv:2206.00927.
//!
//! The range of t = -ln(sigma) from sigma_max to sigma_min is cut into equal steps of order 3, the last ones of order 2 or 1, so that
//! `numInferenceSteps` is the number of model evaluations. It ends at sigma_min, not at zero. With the config key `eta` (default 0) each step goes to the down
//! part of its end and adds noise.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::euler::split;
use crate::k_family;
use crate::k_sigmas::finish;
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{sigma_to_t, to_f32};

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMFastScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "prediction_type":"epsilon", "timestep_spacing":"linspace", "steps_offset":0, "eta":0.0
}"#,
    step_options: &["sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::WithKey("eta"),
    check: check_eta,
    schedule,
    rows,
};

/// One step of DPM-Solver in -ln(sigma).
struct Step {
    from: f64,
    /// Where it ends before noise.
    down: f64,
    /// Noise that is added at its end.
    up: f64,
    order: usize,
}

impl Step {
    /// Level of its evaluation number `place`.
    fn level(&self, place: usize) -> f64 {
        self.from * (self.down / self.from).powf(place as f64 / self.order as f64)
    }
}

/// Where a step from `from` to `to` ends before its noise is added, not below `lowest`, and the amount of that noise.
pub(crate) fn target(eta: f64, from: f64, to: f64, lowest: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let down = split(from, to, eta).0.max(lowest);
    (down, (to * to - down * down).max(0.0).sqrt())
}

/// Refuses a share of fresh noise outside 0 to 1. It is a config key where the levels of the evaluations depend on it.
pub(crate) fn check_eta(config: &mut Config) -> Result<()> {
    match config.number("eta")? {
        eta if (0.0..=1.0).contains(&eta) => Ok(()),
        eta => Err(SamplerError::config("eta", "a number from 0 to 1", eta.to_string())),
    }
}

/// DPM-Solver of `order` after the evaluation number `place`: from level `from` to `end`, the level of the next evaluation or of the step's end.
///
/// With e = (x - x0) / sigma in registers `m<base + k>` and the step's start in `s<base>`: order 1: x - s' (e^h - 1) e0; orders 2 (r = 1/2) and 3
/// (r = 1/3, 2/3) add differences of the inner evaluations.
pub(crate) fn solver_step(order: usize, place: usize, base: usize, from: f64, end: f64) -> Lin {
    let h = (from / end).ln();
    let e = |k: usize| reg(format!("m{}", base + k));
    let straight = reg(format!("s{base}")) - e(0) * (end * h.exp_m1());
    let bend = h.exp_m1() / h - 1.0;
    match (order, place) {
        (2, 1) => straight - (e(1) - e(0)) * (end * h.exp_m1()),
        (3, 1) => straight - (e(1) - e(0)) * (2.0 * end * bend),
        (3, 2) => straight - (e(2) - e(0)) * (1.5 * end * bend),
        _ => straight,
    }
}

fn steps(eta: f64, n: usize, high: f64, low: f64) -> Vec<Step> {
    let m = n / 3 + 1;
    let mut orders = vec![3; m - 1];
    if n.is_multiple_of(3) {
        orders.truncate(m - 2);
        orders.extend([2, 1]);
    } else {
        orders.push(n % 3);
    }
    let at = |k: usize| high * (low / high).powf(k as f64 / m as f64);
    let step = |(k, &order): (usize, &usize)| {
        let (down, up) = target(eta, at(k), at(k + 1), low);
        Step { from: at(k), down, up, order }
    };
    orders.iter().enumerate().map(step).collect()
}

fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let n = options.steps_only(10_000)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let train = train_sigmas(&bars);
    let (high, low) = (f64::from(train[train.len() - 1]), f64::from(train[0]));
    let mut sigmas: Vec<f64> = steps(config.number("eta")?, n, high, low).iter().flat_map(|s| (0..s.order).map(|place| s.level(place))).collect();
    let logs = log_f32(&train);
    let timesteps: Vec<f64> = sigmas.iter().map(|&s| sigma_to_t(s, &logs)).collect();
    sigmas.push(low);
    let schedule = Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps: n, ..Schedule::default() };
    Ok(finish(config, Schedule { extra: vec![high, low], ..schedule }))
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let steps = steps(config.number("eta")?, schedule.steps, schedule.extra[0], schedule.extra[1]);
    let evaluations = steps.iter().flat_map(|step| (0..step.order).map(move |place| (step, place))).enumerate();
    evaluations
        .skip(options.begin_index)
        .map(|(i, (step, place))| {
            let sigma = step.level(place);
            let mut row = k_family::row(config, schedule, i, sigma)?;
            row.value = Some((reg("sample") - reg("x0")) * (1.0 / sigma));
            let last = place + 1 == step.order;
            let end = if last { step.down } else { step.level(place + 1) };
            // A start inside a step goes on in first order until that step ends.
            let whole = place <= i - options.begin_index;
            if place == 0 || !whole {
                row.save.push((format!("s{i}"), reg("sample")));
            }
            row.next = if whole { solver_step(step.order, place, i - place, step.from, end) } else { solver_step(1, 0, i, sigma, end) };
            if last && step.up > 0.0 {
                row.noise = Some(Noise::Normal);
                row.next = row.next + reg("noise") * (step.up * options.s_noise.unwrap_or(1.0));
            }
            Ok(row)
        })
        .collect()
}
