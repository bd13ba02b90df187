//! UniPC: a predictor and a corrector that share the model's answers, arXiv:2302.04867.
//!
//! Legend: h = lambda_t - lambda_0, r_k = (lambda_k - lambda_0) / h, B(h) = h (bh1) or e^h - 1 (bh2); the weights rho solve
//! R rho = b with R_ij = r_j^(i-1) and b_i = i! phi_(i+1)(h) / B(h).
//! Source: diffusers scheduling_unipc_multistep.py `multistep_uni_p_bh_update`, `multistep_uni_c_bh_update`.

use crate::betas::{finite_alphas_cumprod, COMMON};
use crate::config::Config;
use crate::dpm_multistep::{close, Style};
use crate::dpm_solver::{points, Point};
use crate::error::{show, Result, SamplerError};
use crate::lin::{reg, Lin};
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{preserving, threshold, FLOW_TYPES, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::{karras, spacing, to_f32, Spacing};
use crate::timesteps::{exclusive, linspace};
use serde_json::Value;

pub(crate) const ENTRY: Entry = Entry {
    class: "UniPCMultistepScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "solver_order":2, "prediction_type":"epsilon", "thresholding":false, "dynamic_thresholding_ratio":0.995,
    "sample_max_value":1.0, "predict_x0":true, "solver_type":"bh2", "lower_order_final":true, "disable_corrector":[],
    "solver_p":null, "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false,
    "use_flow_sigmas":false, "flow_shift":1.0, "timestep_spacing":"linspace", "steps_offset":0, "final_sigmas_type":"zero",
    "rescale_betas_zero_snr":false, "use_dynamic_shifting":false, "time_shift_type":"exponential", "sigma_min":null,
    "sigma_max":null, "shift_terminal":null
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
    if matches!(config.get("solver_type").as_str(), Some("midpoint" | "heun" | "logrho")) {
        config.set("solver_type", Value::from("bh2"));
    }
    config.choice("solver_type", &["bh1", "bh2"])?;
    if !config.get("solver_p").is_null() {
        return Err(SamplerError::config("solver_p", "null", show(config.get("solver_p"))));
    }
    if !config.get("shift_terminal").is_null() && !config.flag("use_flow_sigmas") {
        return Err(SamplerError::config("shift_terminal", "null without use_flow_sigmas", show(config.get("shift_terminal"))));
    }
    Ok(())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let bars = finite_alphas_cumprod(config, COMMON)?;
    if config.flag("use_flow_sigmas") {
        return flow_schedule(config, options, bars);
    }
    let n = options.steps_only(train)?;
    let timesteps = exclusive(config, train, train, n)?;
    let repeat_last = config.get("final_sigmas_type") == "sigma_min" && spacing(config) != Spacing::Timesteps;
    config.choice("final_sigmas_type", &["zero", "sigma_min"])?;
    close(config, &bars, timesteps, &Style { round_karras: true, repeat_last })
}

fn flow_schedule(config: &Config, options: &PlanOptions, bars: Vec<f32>) -> Result<Schedule> {
    let train = config.train_steps()? as f64;
    let custom = options.custom_sigmas()?;
    let n = match (&custom, options.count(10_000)?) {
        (Some(list), _) => list.len(),
        (None, Some(n)) => n,
        _ => return Err(SamplerError::argument("numInferenceSteps", "an integer from 1 to 10000", "nothing")),
    };
    let mut sigmas = match (spacing(config), custom) {
        (Spacing::Karras, _) => {
            let train = crate::betas::train_sigmas(&bars);
            let (high, low) = crate::sigmas::ends(config, f64::from(train[train.len() - 1]), f64::from(train[0]))?;
            karras(high, low, n, 7.0).iter().map(|s| s / (s + 1.0)).collect()
        }
        (_, custom) => {
            let levels = custom.unwrap_or_else(|| linspace(1.0, 1.0 / train, n + 1)[..n].to_vec());
            shifted(config, options, levels)?
        }
    };
    let timesteps = sigmas.iter().map(|s| (s * train).trunc()).collect();
    let last = if config.choice("final_sigmas_type", &["zero", "sigma_min"])? == "zero" { 0.0 } else { sigmas[n - 1] };
    sigmas.push(last);
    let sigmas = to_f32(&sigmas);
    Ok(Schedule { timesteps, integer: true, sigmas, init_noise_sigma: 1.0, order: 1, bars, steps: n, ..Schedule::default() })
}

fn shifted(config: &Config, options: &PlanOptions, levels: Vec<f64>) -> Result<Vec<f64>> {
    let shift = config.number("flow_shift")?;
    let mut sigmas: Vec<f64> = match (config.flag("use_dynamic_shifting"), options.mu) {
        (true, Some(mu)) => levels.iter().map(|t| mu.exp() / (mu.exp() + (1.0 / t - 1.0))).collect(),
        (true, None) => return Err(SamplerError::argument("mu", "a number (use_dynamic_shifting is true)", "nothing")),
        _ => levels.iter().map(|s| shift * s / (1.0 + (shift - 1.0) * s)).collect(),
    };
    if let Some(terminal) = config.optional_number("shift_terminal")?.filter(|t| *t != 0.0) {
        let scale = (1.0 - sigmas[sigmas.len() - 1]) / (1.0 - terminal);
        sigmas.iter_mut().for_each(|s| *s = 1.0 - (1.0 - *s) / scale);
    }
    if (sigmas[0] - 1.0).abs() < 1e-6 {
        sigmas[0] -= 1e-6;
    }
    Ok(sigmas)
}

/// Solves a small dense system by elimination with row exchange; `None` where it is singular.
fn solve(mut r: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| r[i][k].abs().total_cmp(&r[j][k].abs()))?;
        if r[pivot][k].abs() < 1e-300 || !r[pivot][k].is_finite() {
            return None;
        }
        r.swap(k, pivot);
        b.swap(k, pivot);
        for i in k + 1..n {
            let factor = r[i][k] / r[k][k];
            let source = r[k].clone();
            r[i].iter_mut().zip(source).skip(k).for_each(|(x, y)| *x -= factor * y);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        b[k] = (b[k] - (k + 1..n).map(|j| r[k][j] * b[j]).sum::<f64>()) / r[k][k];
    }
    Some(b)
}

struct Solver {
    on_data: bool,
    bh1: bool,
}

impl Solver {
    /// First-order transfer of `x` and the factor B(h) * (alpha or sigma) of the residuals.
    fn base(&self, x: Lin, m0: Lin, from: Point, to: Point) -> (Lin, f64, f64) {
        let h = to.lambda - from.lambda;
        let hh = if self.on_data { -h } else { h };
        let b = if self.bh1 { hh } else { hh.exp_m1() };
        if self.on_data {
            (x * (to.sigma / from.sigma) - m0 * (to.alpha * hh.exp_m1()), to.alpha * b, hh)
        } else {
            let weight = to.alpha * from.sigma / from.alpha - to.sigma;
            (x * (to.alpha / from.alpha) - m0 * weight, to.sigma * b, hh)
        }
    }

    /// b_1..b_order of the paper.
    fn right_side(&self, hh: f64, order: usize) -> Vec<f64> {
        let b = if self.bh1 { hh } else { hh.exp_m1() };
        let mut phi = hh.exp_m1() / hh - 1.0;
        let mut factorial = 1.0;
        (1..=order)
            .map(|i| {
                let value = phi * factorial / b;
                factorial *= (i + 1) as f64;
                phi = phi / hh - 1.0 / factorial;
                value
            })
            .collect()
    }

    /// `m` and `p`: history newest first, m[0] at p[0] the base of the step; `newest`: the answer at `to` (corrector).
    fn step(&self, x: Lin, m: &[Lin], p: &[Point], to: Point, newest: Option<Lin>) -> Option<Lin> {
        let (base, factor, hh) = self.base(x, m[0].clone(), p[0], to);
        let h = to.lambda - p[0].lambda;
        let mut ratios: Vec<f64> = p[1..].iter().map(|q| (q.lambda - p[0].lambda) / h).collect();
        let differences: Vec<Lin> = m[1..].iter().zip(&ratios).map(|(mi, r)| (mi.clone() - m[0].clone()) * (1.0 / r)).collect();
        let order = m.len();
        ratios.push(1.0);
        let unknowns = if newest.is_some() { order } else { order - 1 };
        let weights = match (newest.is_some(), order) {
            (true, 1) | (false, 2) => vec![0.5],
            (false, 1) => vec![],
            _ => {
                let rows = (0..unknowns).map(|i| ratios[..unknowns].iter().map(|r| r.powi(i as i32)).collect()).collect();
                solve(rows, self.right_side(hh, order)[..unknowns].to_vec())?
            }
        };
        let mut residual = differences.into_iter().zip(&weights).fold(Lin::default(), |sum, (d, w)| sum + d * *w);
        if let Some(newest) = newest {
            residual = residual + (newest - m[0].clone()) * weights[unknowns - 1];
        }
        Some(if residual.terms().is_empty() { base } else { base - residual * factor })
    }
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let solver = Solver { on_data: config.flag("predict_x0"), bh1: config.get("solver_type") == "bh1" };
    let kind = config.choice("prediction_type", if solver.on_data { FLOW_TYPES } else { TYPES })?;
    let solver_order = config.count("solver_order", 1, 8)?;
    let clip = if solver.on_data { threshold(config)? } else { None };
    let disabled: Vec<i64> = config.get("disable_corrector").as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let points = points(config, &schedule.sigmas);
    let n = schedule.timesteps.len();
    let begin = options.begin_index;
    let order_at = |i: usize| {
        let limit = if config.flag("lower_order_final") { n - i } else { solver_order };
        solver_order.min(limit).min(i - begin + 1)
    };
    let mut rows = Vec::new();
    for i in begin..n {
        let mut row = Row::at(schedule, i);
        row.sigma = schedule.sigmas[i];
        let prediction = preserving(kind, points[i].alpha, points[i].sigma);
        row.x0 = prediction.x0;
        row.clip = clip.clone();
        row.value = Some(if solver.on_data { reg("x0") } else { prediction.eps });
        let singular = || SamplerError::config("lower_order_final", "true (the last step has no solution of this order)", "false");
        if i > begin && !disabled.contains(&(i as i64 - 1)) {
            let order = order_at(i - 1);
            let m: Vec<Lin> = (1..=order).map(|k| reg(format!("m{}", i - k))).collect();
            let p: Vec<Point> = (1..=order).map(|k| points[i - k]).collect();
            let newest = Some(reg(format!("m{i}")));
            row.correct = Some(solver.step(reg(format!("s{}", i - 1)), &m, &p, points[i], newest).ok_or_else(singular)?);
        }
        row.save.push((format!("s{i}"), reg("sample")));
        let order = order_at(i);
        let m: Vec<Lin> = (0..order).map(|k| reg(format!("m{}", i - k))).collect();
        let p: Vec<Point> = (0..order).map(|k| points[i - k]).collect();
        row.next = solver.step(reg("sample"), &m, &p, points[i + 1], None).ok_or_else(singular)?;
        rows.push(row);
    }
    Ok(rows)
}
