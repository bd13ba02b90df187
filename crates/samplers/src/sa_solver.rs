//! SA-Solver: stochastic Adams predictor and corrector, arXiv:2309.05019.
//!
//! Legend: lambda = ln(alpha / sigma); tau = noise strength (1 for timesteps 200 to 800, else 0); c_k = integral of the Lagrange
//! polynomial of node k times exp((1 + tau^2) lambda) (data) or exp(-lambda) (noise) over the step; h = step in lambda.
//! data: next = e^(-tau^2 h) sigma_t / sigma_s x + (1 + tau^2) sigma_t e^(-tau^2 lambda_t) sum c_k m_k + noise; noise prediction
//! likewise in alpha. Source: diffusers scheduling_sasolver.py `stochastic_adams_*_update`.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::dpm_multistep::{close, usable, Style};
use crate::dpm_solver::{points, Point};
use crate::error::{show, Result, SamplerError};
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::prediction::{preserving, threshold, FLOW_TYPES, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::exclusive;

pub(crate) const ENTRY: Entry = Entry {
    class: "SASolverScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "predictor_order":2, "corrector_order":2, "prediction_type":"epsilon", "tau_func":null, "thresholding":false,
    "dynamic_thresholding_ratio":0.995, "sample_max_value":1.0, "algorithm_type":"data_prediction", "lower_order_final":true,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "use_flow_sigmas":false,
    "flow_shift":1.0, "lambda_min_clipped":"-Infinity", "variance_type":null, "timestep_spacing":"linspace", "steps_offset":0
}"#,
    step_options: &[],
    noise: NoiseRule::Bars,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check,
    schedule,
    rows,
};

pub(crate) fn check(config: &mut Config) -> Result<()> {
    config.check_sigma_flags()?;
    let kind = config.choice("algorithm_type", &["data_prediction", "noise_prediction"])?;
    if !config.get("tau_func").is_null() {
        return Err(SamplerError::config("tau_func", "null", show(config.get("tau_func"))));
    }
    if config.flag("thresholding") && kind == "noise_prediction" {
        return Err(SamplerError::config("thresholding", "false for noise_prediction", "true"));
    }
    if matches!(config.get("variance_type").as_str(), Some("learned" | "learned_range")) {
        return Err(SamplerError::config("variance_type", "null (latent models predict no variance)", show(config.get("variance_type"))));
    }
    Ok(())
}

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let n = options.steps_only(train)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let usable = usable(config, &bars)?;
    close(config, &bars, exclusive(config, train, usable, n)?, &Style { round_karras: true, repeat_last: true })
}

fn tau(t: f64) -> f64 {
    if (200.0..=800.0).contains(&t) {
        1.0
    } else {
        0.0
    }
}

/// Integral over [a, b] of x^k e^(r x), times nothing else: by parts.
fn moment(k: usize, r: f64, a: f64, b: f64) -> f64 {
    let at = |x: f64| {
        let mut sum = 0.0;
        let mut term = 1.0;
        for j in 0..=k {
            sum += term * x.powi((k - j) as i32);
            term *= -((k - j) as f64) / r;
        }
        sum * (r * x).exp() / r
    };
    at(b) - at(a)
}

/// Coefficients of the Lagrange polynomial of node `k`, lowest power first.
fn lagrange(nodes: &[f64], k: usize) -> Vec<f64> {
    let mut polynomial = vec![1.0];
    for (j, node) in nodes.iter().enumerate().filter(|(j, _)| *j != k) {
        let scale = 1.0 / (nodes[k] - node);
        debug_assert!(j < nodes.len());
        let mut product = vec![0.0; polynomial.len() + 1];
        for (power, c) in polynomial.iter().enumerate() {
            product[power + 1] += c * scale;
            product[power] -= c * node * scale;
        }
        polynomial = product;
    }
    polynomial
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Predictor,
    Corrector,
}

struct Step<'a> {
    on_data: bool,
    part: Part,
    tau: f64,
    from: Point,
    to: Point,
    /// Nodes of the outputs, newest first.
    nodes: &'a [Point],
}

impl Step<'_> {
    fn weights(&self) -> Vec<f64> {
        let rate = 1.0 + self.tau * self.tau;
        let r = if self.on_data { rate } else { -1.0 };
        let (a, b) = (self.from.lambda, self.to.lambda);
        // Moments about the end of the step: powers of lambda differences stay small.
        let nodes: Vec<f64> = self.nodes.iter().map(|p| p.lambda - b).collect();
        let factor = (r * b).exp();
        let mut weights: Vec<f64> = (0..nodes.len())
            .map(|k| lagrange(&nodes, k).iter().enumerate().map(|(power, c)| c * moment(power, r, a - b, 0.0) * factor).sum())
            .collect();
        if self.on_data && weights.len() == 2 {
            let h = b - a;
            let shape = h * rate - 1.0 + (-rate * h).exp();
            let extra = (rate * b).exp()
                * match self.part {
                    Part::Predictor => (h * h / 2.0 - shape / (rate * rate)) / (a - self.nodes[1].lambda),
                    Part::Corrector => h / 2.0 - shape / (rate * rate * h),
                };
            weights[0] += extra;
            weights[1] -= extra;
        }
        weights
    }

    fn apply(&self, x: Lin, outputs: &[Lin], noise: Lin) -> Lin {
        let (t2, h) = (self.tau * self.tau, self.to.lambda - self.from.lambda);
        let (scale, gradient, spread) = if self.on_data {
            let spread = self.to.sigma * (1.0 - (-2.0 * t2 * h).exp()).max(0.0).sqrt();
            ((-t2 * h).exp() * self.to.sigma / self.from.sigma, (1.0 + t2) * self.to.sigma * (-t2 * self.to.lambda).exp(), spread)
        } else {
            let spread = self.tau * self.to.sigma * ((2.0 * h).exp() - 1.0).sqrt();
            (self.to.alpha / self.from.alpha, -(1.0 + t2) * self.to.alpha, spread)
        };
        let start = x * scale + noise * spread;
        self.weights().iter().zip(outputs).fold(start, |next, (w, m)| next + m.clone() * (gradient * w))
    }
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let on_data = config.get("algorithm_type") == "data_prediction";
    let kind = config.choice("prediction_type", if on_data { FLOW_TYPES } else { TYPES })?;
    let (predictor, corrector) = (config.count("predictor_order", 1, 4)?, config.count("corrector_order", 1, 4)?);
    let clip = threshold(config)?;
    let points = points(config, &schedule.sigmas);
    let (n, begin) = (schedule.timesteps.len(), options.begin_index);
    let lower = config.flag("lower_order_final");
    let depth = predictor.max(corrector.saturating_sub(1));
    let orders = |i: usize| {
        let known = (i - begin).min(depth);
        let (p, c) = if lower { (predictor.min(n - i), corrector.min(n - i + 1)) } else { (predictor, corrector) };
        (p.min(known + 1), c.min(known + 2))
    };
    Ok((begin..n)
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = schedule.sigmas[i];
            let prediction = preserving(kind, points[i].alpha, points[i].sigma);
            row.x0 = prediction.x0;
            row.clip = clip.clone();
            row.value = Some(if on_data { reg("x0") } else { prediction.eps });
            row.noise = Some(Noise::Normal);
            let newest = |order: usize| -> (Vec<Lin>, Vec<Point>) { (0..order).map(|k| (reg(format!("m{}", i - k)), points[i - k])).unzip() };
            if i > begin {
                let (outputs, nodes) = newest(orders(i - 1).1);
                let tau = tau(schedule.timesteps[i - 1]);
                let step = Step { on_data, part: Part::Corrector, tau, from: points[i - 1], to: points[i], nodes: &nodes };
                row.correct = Some(step.apply(reg(format!("s{}", i - 1)), &outputs, reg(format!("z{}", i - 1))));
            }
            row.save.push((format!("s{i}"), reg("sample")));
            row.save.push((format!("z{i}"), reg("noise")));
            let (outputs, nodes) = newest(orders(i).0);
            let step = Step { on_data, part: Part::Predictor, tau: tau(row.t), from: points[i], to: points[i + 1], nodes: &nodes };
            row.next = step.apply(reg("sample"), &outputs, reg("noise"));
            row
        })
        .collect())
}
