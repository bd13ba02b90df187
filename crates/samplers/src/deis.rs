//! DEIS: exponential integrator with polynomial extrapolation in log rho, arXiv:2204.13902.
//!
//! Legend: rho = sigma / alpha; m_k = noise prediction at node k. next = alpha_t (x / alpha_s + sum c_k m_k), c_k = integral of
//! the Lagrange polynomial of node k in ln(rho) from rho_s to rho_t, in closed form. Source: diffusers scheduling_deis_multistep.py.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::dpm_multistep::{close, with_mu, Style};
use crate::dpm_solver::{points, update, Algorithm, Derivatives, Point};
use crate::error::Result;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{preserving, threshold, FLOW_TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::exclusive;
use serde_json::Value;

pub(crate) const ENTRY: Entry = Entry {
    class: "DEISMultistepScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "solver_order":2, "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "algorithm_type":"deis", "solver_type":"logrho", "lower_order_final":true,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "use_flow_sigmas":false,
    "flow_shift":1.0, "timestep_spacing":"linspace", "steps_offset":0, "use_dynamic_shifting":false,
    "time_shift_type":"exponential"
}"#,
    step_options: &[],
    noise: NoiseRule::Preserving,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check,
    schedule,
    rows,
};

pub(crate) fn check(config: &mut Config) -> Result<()> {
    config.check_sigma_flags()?;
    if matches!(config.get("algorithm_type").as_str(), Some("dpmsolver" | "dpmsolver++")) {
        config.set("algorithm_type", Value::from("deis"));
    }
    config.choice("algorithm_type", &["deis"])?;
    if matches!(config.get("solver_type").as_str(), Some("midpoint" | "heun" | "bh1" | "bh2")) {
        config.set("solver_type", Value::from("logrho"));
    }
    config.choice("solver_type", &["logrho"])?;
    Ok(())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let config = &with_mu(config, options)?;
    let train = config.train_steps()?;
    let n = options.steps_only(train)?;
    let bars = alphas_cumprod(config, COMMON)?;
    close(config, &bars, exclusive(config, train, train, n)?, &Style { round_karras: true, repeat_last: true })
}

/// Antiderivative of the Lagrange polynomial of node `b` against nodes `others`, at `t`.
fn antiderivative(t: f64, b: f64, others: &[f64]) -> f64 {
    let (l, b) = (t.ln(), b.ln());
    match others {
        [c] => t * (l - c.ln() - 1.0) / (b - c.ln()),
        [c, d] => {
            let (c, d) = (c.ln(), d.ln());
            t * (c * (d - l + 1.0) - d * l + d + l * l - 2.0 * l + 2.0) / ((b - c) * (b - d))
        }
        _ => t,
    }
}

/// Weights of the newest noise predictions for the step from `p[0]` to `to`.
fn weights(p: &[Point], to: Point) -> Vec<f64> {
    let rho: Vec<f64> = p.iter().map(|q| q.sigma / q.alpha).collect();
    let end = to.sigma / to.alpha;
    (0..rho.len())
        .map(|k| {
            let others: Vec<f64> = rho.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, r)| *r).collect();
            antiderivative(end, rho[k], &others) - antiderivative(rho[0], rho[k], &others)
        })
        .collect()
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", FLOW_TYPES)?;
    let solver_order = config.count("solver_order", 1, 3)?;
    let clip = threshold(config)?;
    let points = points(config, &schedule.sigmas);
    let n = schedule.timesteps.len();
    let lower_final = config.flag("lower_order_final") && n < 15;
    Ok((options.begin_index..n)
        .map(|i| {
            let mut row = Row::at(schedule, i);
            let (s, t) = (points[i], points[i + 1]);
            let prediction = preserving(kind, s.alpha, s.sigma);
            row.sigma = schedule.sigmas[i];
            row.x0 = prediction.x0;
            row.value = Some(match &clip {
                None => prediction.eps,
                Some(_) => (reg("sample") - reg("x0") * s.alpha) * (1.0 / s.sigma),
            });
            row.clip = clip.clone();
            let limit = if lower_final { n - i } else { 3 };
            let order = solver_order.min(i - options.begin_index + 1).min(limit);
            let value = |k: usize| reg(format!("m{}", i - k));
            row.next = if order == 1 {
                update(Algorithm::Dpm, reg("sample"), s, t, Derivatives { d0: value(0), d1: None, d2: None })
            } else {
                let p: Vec<Point> = (0..order).map(|k| points[i - k]).collect();
                let start = reg("sample") * (t.alpha / s.alpha);
                weights(&p, t).iter().enumerate().fold(start, |next, (k, w)| next + value(k) * (t.alpha * w))
            };
            row
        })
        .collect())
}
