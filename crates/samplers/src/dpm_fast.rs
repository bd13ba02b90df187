//! DPM fast (k-diffusion `sample_dpm_fast`): DPM-Solver of order 3 with a fixed number of evaluations, arXiv:2206.00927.
//!
//! The range of t = -ln(sigma) from sigma_max to sigma_min is cut into equal steps of order 3, the last ones of order 2 or 1, so that
//! `numInferenceSteps` is the number of model evaluations. It ends at sigma_min, not at zero. With e = (x - x0) / sigma:
//! order 1: x - s' (e^h - 1) e; order 2 (r = 1/2) and 3 (r = 1/3, 2/3) add the differences of the inner evaluations.

use crate::betas::{alphas_cumprod, log_f32, train_sigmas, COMMON};
use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::k_sigmas::finish;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{sigma_to_t, to_f32};

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMFastScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: k_family::DEFAULTS,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

/// (start in t, length, order, place) of every evaluation.
fn grid(n: usize, high: f64, low: f64) -> Vec<(f64, f64, usize, usize)> {
    let m = n / 3 + 1;
    let h = (high / low).ln() / m as f64;
    let mut orders = vec![3; m - 1];
    if n.is_multiple_of(3) {
        orders.truncate(m - 2);
        orders.extend([2, 1]);
    } else {
        orders.push(n % 3);
    }
    let steps = orders.iter().enumerate().map(|(k, order)| (-high.ln() + k as f64 * h, h, *order));
    steps.flat_map(|(t, h, order)| (0..order).map(move |place| (t, h, order, place))).collect()
}

fn level((t, h, order, place): (f64, f64, usize, usize)) -> f64 {
    (-(t + h * place as f64 / order as f64)).exp()
}

fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let steps = options.steps_only(10_000)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let train = train_sigmas(&bars);
    let (high, low) = (f64::from(train[train.len() - 1]), f64::from(train[0]));
    let mut sigmas: Vec<f64> = grid(steps, high, low).into_iter().map(level).collect();
    let logs = log_f32(&train);
    let timesteps: Vec<f64> = sigmas.iter().map(|&s| sigma_to_t(s, &logs)).collect();
    sigmas.push(low);
    Ok(finish(
        config,
        Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps, extra: vec![high, low], ..Schedule::default() },
    ))
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let grid = grid(schedule.steps, schedule.extra[0], schedule.extra[1]);
    // A start inside a step goes on in first order until that step ends.
    (options.begin_index..grid.len())
        .map(|i| {
            let (t, h, parts, at) = grid[i];
            let (order, place) = if at <= i - options.begin_index { (parts, at) } else { (1, 0) };
            let sigma = level(grid[i]);
            let mut row = k_family::row(config, schedule, i, sigma)?;
            row.value = Some((reg("sample") - reg("x0")) * (1.0 / sigma));
            if place == 0 {
                row.save.push((format!("s{i}"), reg("sample")));
            }
            let (start, base) = if order == 1 { (-sigma.ln(), i) } else { (t, i - place) };
            let end = t + h * (at + 1) as f64 / parts as f64;
            let (to, span) = ((-end).exp(), end - start);
            let e = |k: usize| reg(format!("m{}", base + k));
            let straight = reg(format!("s{base}")) - e(0) * (to * span.exp_m1());
            let bend = span.exp_m1() / span - 1.0;
            row.next = match (order, place) {
                (2, 1) => straight - (e(1) - e(0)) * (to * span.exp_m1()),
                (3, 1) => straight - (e(1) - e(0)) * (2.0 * to * bend),
                (3, 2) => straight - (e(2) - e(0)) * (1.5 * to * bend),
                _ => straight,
            };
            Ok(row)
        })
        .collect()
}
