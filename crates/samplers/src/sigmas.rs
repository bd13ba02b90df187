//! Noise levels of a run and their spacing: Karras, exponential, beta, Lu and flow.
//!
//! Legend: sigma = sqrt((1 - abar) / abar), the noise level of the variance-exploding form. Sources: Karras et al.
//! arXiv:2206.00364 equation 5 (rho = 7); beta arXiv:2407.12173 (alpha = beta = 0.6); Lu arXiv:2206.00927.

use crate::config::Config;
use crate::error::Result;
use crate::sigma_schedules::named;
use crate::timesteps::linspace;

/// numpy.interp over the training grid 0..T-1, ends held.
pub(crate) fn interpolate(timesteps: &[f64], values: &[f32]) -> Vec<f64> {
    let at = |i: usize| f64::from(values[i]);
    timesteps
        .iter()
        .map(|&t| {
            let last = values.len() - 1;
            if t <= 0.0 {
                return at(0);
            }
            if t >= last as f64 {
                return at(last);
            }
            let low = t.floor() as usize;
            (at(low + 1) - at(low)) * (t - low as f64) + at(low)
        })
        .collect()
}

fn low_index(log_sigmas: &[f32], is_above: impl Fn(f32) -> bool) -> usize {
    log_sigmas.iter().rposition(|&l| is_above(l)).unwrap_or(0).min(log_sigmas.len().saturating_sub(2))
}

/// The (fractional) training timestep of a noise level, by its logarithm; f64 as numpy does with f64 sigmas.
pub(crate) fn sigma_to_t(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let low = low_index(log_sigmas, |l| log_sigma - f64::from(l) >= 0.0);
    let (l, h) = (log_sigmas[low], log_sigmas[low + 1]);
    let w = ((f64::from(l) - log_sigma) / f64::from(l - h)).clamp(0.0, 1.0);
    (1.0 - w) * low as f64 + w * (low + 1) as f64
}

/// As [`sigma_to_t`] where the reference works in f32.
pub(crate) fn sigma_to_t_f32(sigma: f32, log_sigmas: &[f32]) -> (f32, usize) {
    let log_sigma = f64::from(sigma.max(1e-10)).ln() as f32;
    let low = low_index(log_sigmas, |l| log_sigma - l >= 0.0);
    let (l, h) = (log_sigmas[low], log_sigmas[low + 1]);
    (((l - log_sigma) / (l - h)).clamp(0.0, 1.0), low)
}

/// Ends of a schedule: `sigma_min`/`sigma_max` of the config where given, else those of the range.
pub(crate) fn ends(config: &Config, first: f64, last: f64) -> Result<(f64, f64)> {
    let high = config.optional_number("sigma_max")?.unwrap_or(first);
    let low = config.optional_number("sigma_min")?.unwrap_or(last);
    Ok((high, low))
}

/// Karras: equal steps in sigma^(1/rho).
pub fn karras(high: f64, low: f64, n: usize, rho: f64) -> Vec<f64> {
    let (a, b) = (high.powf(1.0 / rho), low.powf(1.0 / rho));
    linspace(0.0, 1.0, n).iter().map(|r| (a + r * (b - a)).powf(rho)).collect()
}

/// Exponential: equal steps in log(sigma).
pub fn exponential(high: f64, low: f64, n: usize) -> Vec<f64> {
    linspace(high.ln(), low.ln(), n).iter().map(|l| l.exp()).collect()
}

/// Polyexponential: steps in log(sigma) whose density follows a ramp to the power `rho` (1 = exponential).
pub fn polyexponential(high: f64, low: f64, n: usize, rho: f64) -> Vec<f64> {
    linspace(1.0, 0.0, n).iter().map(|r| (r.powf(rho) * (high.ln() - low.ln()) + low.ln()).exp()).collect()
}

/// Beta: quantiles of the beta distribution with both parameters 0.6.
pub fn beta(high: f64, low: f64, n: usize) -> Vec<f64> {
    linspace(0.0, 1.0, n).iter().map(|r| low + beta_quantile(1.0 - r, 0.6, 0.6) * (high - low)).collect()
}

/// Flow matching: shifted linear levels, the final zero left out.
pub(crate) fn flow(config: &Config, n: usize) -> Result<Vec<f64>> {
    let shift = config.number("flow_shift")?;
    let train = config.train_steps()? as f64;
    let levels = linspace(1.0, 1.0 / train, n + 1);
    Ok(levels.iter().map(|a| 1.0 - a).map(|s| shift * s / (1.0 + (shift - 1.0) * s)).skip(1).rev().collect())
}

/// Which spacing of noise levels a config asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spacing {
    Timesteps,
    Karras,
    Lu,
    Exponential,
    Beta,
    Flow,
    /// One of [`crate::sigma_schedules`], which outranks the flags.
    Named(&'static str),
}

/// `sigma_spacing`, else the first chosen of karras, lu, exponential, beta, flow, else the sigmas of the timesteps.
pub(crate) fn spacing(config: &Config) -> Spacing {
    if let Some(name) = named(config) {
        return Spacing::Named(name);
    }
    let options = [
        ("use_karras_sigmas", Spacing::Karras),
        ("use_lu_lambdas", Spacing::Lu),
        ("use_exponential_sigmas", Spacing::Exponential),
        ("use_beta_sigmas", Spacing::Beta),
        ("use_flow_sigmas", Spacing::Flow),
    ];
    options.iter().find(|(key, _)| config.flag(key)).map_or(Spacing::Timesteps, |(_, s)| *s)
}

/// Rounds every value to f32.
pub(crate) fn to_f32(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v as f32)).collect()
}

fn ln_gamma(x: f64) -> f64 {
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = (1..9).fold(C[0], |s, i| s + C[i] / (x + i as f64));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Continued fraction of the incomplete beta function (Lentz).
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let tiny = 1e-300;
    let guard = |v: f64| if v.abs() < tiny { tiny } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..300 {
        let m = f64::from(m);
        for numerator in [m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)), -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))]
        {
            d = 1.0 / guard(1.0 + numerator * d);
            c = guard(1.0 + numerator / c);
            h *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    h
}

fn beta_cumulative(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

/// Quantile of the beta distribution, by bisection to machine precision.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p, b, a);
    }
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..200 {
        let mid = 0.5 * (low + high);
        if mid <= low || mid >= high {
            break;
        }
        if beta_cumulative(mid, a, b) < p {
            low = mid;
        } else {
            high = mid;
        }
    }
    0.5 * (low + high)
}
