//! Noise schedules of training: betas and their cumulative product.
//!
//! Legend: beta_t variance added at step t; alpha_t = 1 - beta_t; abar_t = prod(alpha_0..t) ("alphas_cumprod").
//! The reference (torch) keeps these in f32, so every operation rounds to f32 here too: sigmas derived from them
//! depend on it. Source: diffusers scheduling_ddim.py `betas_for_alpha_bar`, `rescale_zero_terminal_snr`;
//! arXiv:2305.08891 algorithm 1 (zero terminal SNR); arXiv:2102.09672 (cosine).

use crate::config::Config;
use crate::error::{show, Result, SamplerError};
use serde_json::Value;

/// torch.linspace in f32: counts up from the start and down from the end, with fused multiply-add.
pub(crate) fn torch_linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n as f32 - 1.0);
    (0..n).map(|i| if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - i - 1) as f32, end) }).collect()
}

fn from_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

fn cumprod(alphas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    alphas
        .iter()
        .map(|&a| {
            product *= f64::from(a);
            product as f32
        })
        .collect()
}

fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumprod(&betas.iter().map(|b| 1.0 - b).collect::<Vec<_>>()).iter().map(|a| a.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let bars: Vec<f32> = roots.iter().map(|r| ((r - last) * scale).powi(2)).collect();
    (0..bars.len()).map(|i| 1.0 - if i == 0 { bars[0] } else { bars[i] / bars[i - 1] }).collect()
}

/// Betas of a config: `trained_betas` or `beta_schedule` among `schedules`, rescaled where the config says so. Shape (T,).
pub fn betas(config: &Config, schedules: &[&'static str]) -> Result<Vec<f32>> {
    let n = config.train_steps()?;
    let betas = match config.get("trained_betas") {
        Value::Null => scheduled(config, n, schedules)?,
        list => trained(list)?,
    };
    if config.flag("rescale_betas_zero_snr") {
        return Ok(rescale_zero_terminal_snr(&betas));
    }
    Ok(betas)
}

fn trained(list: &Value) -> Result<Vec<f32>> {
    let wrong = || SamplerError::config("trained_betas", "a list of numbers from 0 to 1", show(list));
    let values = list.as_array().filter(|v| !v.is_empty()).ok_or_else(wrong)?;
    values.iter().map(|v| v.as_f64().filter(|b| (0.0..=1.0).contains(b)).map(|b| b as f32).ok_or_else(wrong)).collect()
}

fn scheduled(config: &Config, n: usize, schedules: &[&'static str]) -> Result<Vec<f32>> {
    // Classes without the keys know only a schedule that does not read them.
    let bound = |key| if config.get(key).is_null() { Ok(0.0) } else { config.number(key) };
    let (start, end) = (bound("beta_start")?, bound("beta_end")?);
    for (key, value) in [("beta_start", start), ("beta_end", end)] {
        if !(0.0..1.0).contains(&value) {
            return Err(SamplerError::config(key, "a number from 0 to below 1", value.to_string()));
        }
    }
    Ok(match config.choice("beta_schedule", schedules)? {
        "linear" => torch_linspace(start as f32, end as f32, n),
        "scaled_linear" => torch_linspace(start.sqrt() as f32, end.sqrt() as f32, n).iter().map(|b| b * b).collect(),
        "squaredcos_cap_v2" => from_alpha_bar(n, |t| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)),
        "exp" => from_alpha_bar(n, |t| (t * -12.0).exp()),
        "laplace" => from_alpha_bar(n, |t| {
            let lambda = -0.5 * 1f64.copysign(0.5 - t) * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
            (lambda.exp() / (1.0 + lambda.exp())).sqrt()
        }),
        _ => {
            torch_linspace(-6.0, 6.0, n).iter().map(|&x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32 * (end - start) as f32 + start as f32).collect()
        }
    })
}

/// Schedules that nearly every class knows.
pub const COMMON: &[&str] = &["linear", "scaled_linear", "squaredcos_cap_v2"];

/// All schedules that some class knows.
pub(crate) const ALL: &[&str] = &["linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid", "exp"];

/// Cumulative product of 1 - beta, shape (T,), f32 as in the reference.
pub fn alphas_cumprod(config: &Config, schedules: &[&'static str]) -> Result<Vec<f32>> {
    Ok(cumprod(&betas(config, schedules)?.iter().map(|b| 1.0 - b).collect::<Vec<_>>()))
}

/// As [`alphas_cumprod`], the last value raised to 2^-24 where zero terminal SNR would make its sigma infinite.
pub fn finite_alphas_cumprod(config: &Config, schedules: &[&'static str]) -> Result<Vec<f32>> {
    let mut bars = alphas_cumprod(config, schedules)?;
    if config.flag("rescale_betas_zero_snr") {
        if let Some(last) = bars.last_mut() {
            *last = 2f32.powi(-24);
        }
    }
    Ok(bars)
}

/// sqrt((1 - abar) / abar), rounded to f32 after every operation.
pub fn train_sigmas(bars: &[f32]) -> Vec<f32> {
    bars.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
}

/// Natural logarithm, computed in f64 and rounded once.
pub fn log_f32(values: &[f32]) -> Vec<f32> {
    values.iter().map(|v| f64::from(*v).ln() as f32).collect()
}
