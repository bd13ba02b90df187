//! DPM-Solver and DPM-Solver++ updates, arXiv:2206.00927 and arXiv:2211.01095, and their SDE forms.
//!
//! Legend: a point of the schedule has alpha, sigma and lambda = ln(alpha / sigma); h = lambda_t - lambda_base;
//! D0, D1, D2 are the value and the scaled derivatives of the converted model output (x0 for "++", eps otherwise).
//! Source: diffusers scheduling_dpmsolver_multistep.py `*_update`, scheduling_dpmsolver_singlestep.py `*_update`.

use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::lin::{reg, Lin};
use crate::plan::{Clip, Noise, Row};
use crate::prediction::{preserving, threshold};
use serde_json::Value;

/// A point of the schedule in exponential-integrator coordinates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub alpha: f64,
    pub sigma: f64,
    pub lambda: f64,
}

impl Point {
    /// From the variance-exploding level of a variance-preserving process.
    pub fn preserving(level: f64) -> Point {
        let alpha = 1.0 / (level * level + 1.0).sqrt();
        Point::of(alpha, level * alpha)
    }

    /// From the level of a flow.
    pub fn flow(level: f64) -> Point {
        Point::of(1.0 - level, level)
    }

    pub fn of(alpha: f64, sigma: f64) -> Point {
        Point { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}

/// Points of all sigmas, by `use_flow_sigmas`.
pub(crate) fn points(config: &Config, sigmas: &[f64]) -> Vec<Point> {
    let flow = config.flag("use_flow_sigmas");
    sigmas.iter().map(|&s| if flow { Point::flow(s) } else { Point::preserving(s) }).collect()
}

/// `algorithm_type`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Algorithm {
    Dpm,
    DpmPlus,
    SdeDpm,
    SdeDpmPlus,
}

impl Algorithm {
    pub fn of(config: &Config, allowed: &[&'static str]) -> Result<Algorithm> {
        Ok(match config.choice("algorithm_type", allowed)? {
            "dpmsolver" => Algorithm::Dpm,
            "dpmsolver++" => Algorithm::DpmPlus,
            "sde-dpmsolver" => Algorithm::SdeDpm,
            _ => Algorithm::SdeDpmPlus,
        })
    }

    /// True where the solver works on the clean sample.
    pub fn on_data(self) -> bool {
        matches!(self, Algorithm::DpmPlus | Algorithm::SdeDpmPlus)
    }

    pub fn stochastic(self) -> bool {
        matches!(self, Algorithm::SdeDpm | Algorithm::SdeDpmPlus)
    }
}

/// How the first derivative enters: midpoint (half of the zeroth weight) or heun (its own exponential integral).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    Midpoint,
    Heun,
}

impl Rule {
    pub fn of(config: &Config) -> Result<Rule> {
        Ok(match config.choice("solver_type", &["midpoint", "heun"])? {
            "midpoint" => Rule::Midpoint,
            _ => Rule::Heun,
        })
    }
}

/// Value and scaled derivatives of the converted output.
pub(crate) struct Derivatives {
    pub d0: Lin,
    pub d1: Option<(Rule, Lin)>,
    pub d2: Option<Lin>,
}

/// One exponential-integrator step of `sample` from `base` to `to`.
pub(crate) fn update(algorithm: Algorithm, sample: Lin, base: Point, to: Point, d: Derivatives) -> Lin {
    let h = to.lambda - base.lambda;
    // (coefficient of the sample, of D0, of D1 by midpoint, of D1 by heun, of D2, of the noise)
    let (c, w0, mid, heun, w2, noise) = match algorithm {
        Algorithm::DpmPlus => {
            let e = (-h).exp() - 1.0;
            let a = to.alpha;
            (to.sigma / base.sigma, -a * e, -0.5 * a * e, a * (e / h + 1.0), -a * ((e + h) / (h * h) - 0.5), 0.0)
        }
        Algorithm::Dpm => {
            let e = h.exp() - 1.0;
            let s = to.sigma;
            (to.alpha / base.alpha, -s * e, -0.5 * s * e, -s * (e / h - 1.0), -s * ((e - h) / (h * h) - 0.5), 0.0)
        }
        Algorithm::SdeDpmPlus => {
            let e = 1.0 - (-2.0 * h).exp();
            let a = to.alpha;
            let w2 = a * ((e - 2.0 * h) / (4.0 * h * h) - 0.5);
            (to.sigma / base.sigma * (-h).exp(), a * e, 0.5 * a * e, a * (e / (-2.0 * h) + 1.0), w2, to.sigma * e.sqrt())
        }
        Algorithm::SdeDpm => {
            let e = h.exp() - 1.0;
            let s = to.sigma;
            let noise = s * ((2.0 * h).exp() - 1.0).sqrt();
            (to.alpha / base.alpha, -2.0 * s * e, -s * e, -2.0 * s * (e / h - 1.0), f64::NAN, noise)
        }
    };
    let mut next = sample * c + d.d0 * w0;
    if let Some((rule, d1)) = d.d1 {
        next = next + d1 * if rule == Rule::Midpoint { mid } else { heun };
    }
    if let Some(d2) = d.d2 {
        next = next + d2 * w2;
    }
    if algorithm.stochastic() {
        next = next + reg("noise") * noise;
    }
    next
}

/// Multistep derivatives from the newest outputs `m` (newest first) at `p` (same order), the step going to `to`.
fn multistep(m: &[Lin], p: &[Point], to: Point, rule: Rule) -> Derivatives {
    let h = to.lambda - p[0].lambda;
    let d0 = m[0].clone();
    let slope = |i: usize| (m[i].clone() - m[i + 1].clone()) * (h / (p[i].lambda - p[i + 1].lambda));
    match m.len() {
        1 => Derivatives { d0, d1: None, d2: None },
        2 => Derivatives { d0, d1: Some((rule, slope(0))), d2: None },
        _ => {
            let (r0, r1) = ((p[0].lambda - p[1].lambda) / h, (p[1].lambda - p[2].lambda) / h);
            let bend = slope(0) - slope(1);
            let d1 = slope(0) + bend.clone() * (r0 / (r0 + r1));
            Derivatives { d0, d1: Some((Rule::Heun, d1)), d2: Some(bend * (1.0 / (r0 + r1))) }
        }
    }
}

/// The multistep solver of a run of `steps`, whose order rises at the start and falls at the end.
pub(crate) struct Multistep {
    algorithm: Algorithm,
    rule: Rule,
    order: usize,
    steps: usize,
    begin: usize,
    lower_final: bool,
    euler_last: bool,
}

impl Multistep {
    /// For steps from `begin` on; `ends_in_zero` tells of sigmas whose last one allows first order only.
    pub fn of(config: &Config, algorithm: Algorithm, (order, begin, steps): (usize, usize, usize), ends_in_zero: bool) -> Result<Self> {
        let lower_final = config.flag("lower_order_final") && steps < 15;
        let euler_last = config.flag("euler_at_final") || lower_final || ends_in_zero;
        Ok(Self { algorithm, rule: Rule::of(config)?, order, steps, begin, lower_final, euler_last })
    }

    /// What follows `sample` at step i; `m` holds the values of the steps before.
    pub fn next(&self, points: &[Point], i: usize) -> Lin {
        let limit = match self.steps - 1 - i {
            0 if self.euler_last => 1,
            1 if self.lower_final => 2,
            _ => 3,
        };
        let order = self.order.min(i - self.begin + 1).min(limit);
        let m: Vec<_> = (0..order).map(|k| reg(format!("m{}", i - k))).collect();
        let p: Vec<_> = (0..order).map(|k| points[i - k]).collect();
        update(self.algorithm, reg("sample"), points[i], points[i + 1], multistep(&m, &p, points[i + 1], self.rule))
    }
}

/// Singlestep derivatives: `m` newest first, the last one taken at the base of the group.
pub(crate) fn singlestep(m: &[Lin], p: &[Point], to: Point, rule: Rule) -> Derivatives {
    let base = p[p.len() - 1];
    let h = to.lambda - base.lambda;
    let r = |i: usize| (p[i].lambda - base.lambda) / h;
    let d0 = m[m.len() - 1].clone();
    let slope = |i: usize| (m[i].clone() - m[m.len() - 1].clone()) * (1.0 / r(i));
    match m.len() {
        1 => Derivatives { d0, d1: None, d2: None },
        2 => Derivatives { d0, d1: Some((rule, slope(0))), d2: None },
        _ if rule == Rule::Midpoint => Derivatives { d0, d1: Some((Rule::Heun, slope(0))), d2: None },
        _ => {
            let (r0, r1) = (r(0), r(1));
            let d1 = (slope(1) * r0 - slope(0) * r1) * (1.0 / (r0 - r1));
            Derivatives { d0, d1: Some((Rule::Heun, d1)), d2: Some((slope(0) - slope(1)) * (2.0 / (r0 - r1))) }
        }
    }
}

/// Sets `x0`, `clip`, `value` and the noise draw of a row by the point of its evaluation.
pub(crate) fn convert(row: &mut Row, algorithm: Algorithm, kind: &str, point: Point, clip: &Option<Clip>) {
    let prediction = preserving(kind, point.alpha, point.sigma);
    row.x0 = prediction.x0;
    row.clip = clip.clone();
    row.value = Some(match (algorithm.on_data(), clip) {
        (true, _) => reg("x0"),
        (false, None) => prediction.eps,
        (false, Some(_)) => (reg("sample") - reg("x0") * point.alpha) * (1.0 / point.sigma),
    });
    if algorithm.stochastic() {
        row.noise = Some(Noise::Normal);
    }
}

/// Rewrites the names of sibling classes as diffusers does and refuses what no member of the family has.
pub(crate) fn check(config: &mut Config) -> Result<()> {
    config.check_sigma_flags()?;
    if config.get("algorithm_type") == "deis" {
        config.set("algorithm_type", Value::from("dpmsolver++"));
        if config.get("final_sigmas_type") == "zero" && config.class() != "EDMDPMSolverMultistepScheduler" {
            return Err(SamplerError::config("final_sigmas_type", "sigma_min (algorithm_type is deis)", "\"zero\""));
        }
    }
    if matches!(config.get("solver_type").as_str(), Some("logrho" | "bh1" | "bh2")) {
        config.set("solver_type", Value::from("midpoint"));
    }
    let algorithm = Algorithm::of(config, &["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"])?;
    Rule::of(config)?;
    threshold(config)?;
    if !algorithm.on_data() && config.get("final_sigmas_type") == "zero" {
        return Err(SamplerError::config("final_sigmas_type", "sigma_min for this algorithm_type", "\"zero\""));
    }
    if matches!(config.get("variance_type").as_str(), Some("learned" | "learned_range")) {
        let given = config.get("variance_type").to_string();
        return Err(SamplerError::config("variance_type", "null (latent models predict no variance)", given));
    }
    Ok(())
}
