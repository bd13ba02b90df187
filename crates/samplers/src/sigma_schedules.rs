//! Named noise levels that are no config key in diffusers: `sigma_spacing` of the config, or `sigmaSpacing` of a run.
//!
//! They span the training levels, not those of the timesteps, as in k-diffusion, A1111 and ComfyUI, and end in zero. Sources: k-diffusion
//! `get_sigmas_polyexponential`; ComfyUI samplers.py `normal`, `sgm_uniform`, `simple`, `ddim_uniform`, `kl_optimal` (arXiv:2404.14507
//! section 4), nodes_align_your_steps.py (same paper, appendix); GITS in [`crate::gits`]; smoothstep of stable-diffusion.cpp.

use crate::betas::{log_f32, train_sigmas};
use crate::config::Config;
use crate::error::{show, Result, SamplerError};
use crate::sigmas::{beta, exponential, karras, polyexponential};
use crate::timesteps::linspace;
use serde_json::Value;

/// The config key.
pub(crate) const KEY: &str = "sigma_spacing";

/// Names that `sigma_spacing` takes.
pub const SIGMA_SPACINGS: &[&str] = &[
    "karras",
    "exponential",
    "polyexponential",
    "beta",
    "normal",
    "simple",
    "sgm_uniform",
    "ddim_uniform",
    "kl_optimal",
    "smoothstep",
    "gits",
    "ays_sd15",
    "ays_sdxl",
    "ays_svd",
];

const AYS_SD15: [f64; 11] = [
    14.6146412293,
    6.4745760956,
    3.8636745985,
    2.6946151520,
    1.8841921177,
    1.3943805092,
    0.9642583904,
    0.6523686016,
    0.3977456272,
    0.1515232662,
    0.0291671582,
];
const AYS_SDXL: [f64; 11] = [
    14.6146412293,
    6.3184485287,
    3.7681790315,
    2.1811480769,
    1.3405244945,
    0.8620721141,
    0.5550693289,
    0.3798540708,
    0.2332364134,
    0.1114188177,
    0.0291671582,
];
const AYS_SVD: [f64; 11] = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002];

/// The named spacing of a config; null and a missing key are none.
pub(crate) fn named(config: &Config) -> Option<&'static str> {
    let given = config.get(KEY).as_str()?;
    SIGMA_SPACINGS.iter().copied().find(|name| *name == given)
}

/// Refuses a name that is not known, and Align Your Steps without a family that it has a table for.
pub(crate) fn check(value: &Value) -> Result<()> {
    let wrong = |expected: String| Err(SamplerError::config(KEY, expected, show(value)));
    match value {
        Value::Null => Ok(()),
        Value::String(name) if SIGMA_SPACINGS.contains(&name.as_str()) => Ok(()),
        Value::String(name) if name.starts_with("ays") => wrong("one of ays_sd15, ays_sdxl, ays_svd (Align Your Steps has no other families)".into()),
        _ => wrong(format!("one of {}", SIGMA_SPACINGS.join(", "))),
    }
}

/// About `n` descending levels without the final zero (`ddim_uniform` takes whole strides, so it may give more).
pub(crate) fn levels(name: &str, n: usize, bars: &[f32]) -> Vec<f64> {
    let train: Vec<f64> = train_sigmas(bars).iter().map(|s| f64::from(*s)).collect();
    let logs = log_f32(&train_sigmas(bars));
    let last = train.len() - 1;
    let (high, low, end) = (train[last], train[0], last as f64);
    let at = |steps: &[f64]| -> Vec<f64> { steps.iter().map(|&t| log_interpolated(&logs, t).exp()).collect() };
    match name {
        "karras" => karras(high, low, n, 7.0),
        "exponential" => exponential(high, low, n),
        "polyexponential" => polyexponential(high, low, n, 1.0),
        "beta" => beta(high, low, n),
        "normal" => at(&linspace(end, 0.0, n)),
        "simple" => (0..n).map(|i| train[last - (i as f64 * train.len() as f64 / n as f64) as usize]).collect(),
        "sgm_uniform" => at(&linspace(end, 0.0, n + 1)[..n]),
        "ddim_uniform" => train[1.min(last)..].iter().step_by((train.len() / n).max(1)).rev().copied().collect(),
        "kl_optimal" => linspace(0.0, 1.0, n).iter().map(|r| (r * low.atan() + (1.0 - r) * high.atan()).tan()).collect(),
        "smoothstep" => {
            let smooth = |u: f64| (u * u * (3.0 - 2.0 * u) * end).round();
            at(&(0..n).map(|i| smooth(1.0 - i as f64 / n as f64)).collect::<Vec<_>>())
        }
        "gits" => crate::gits::levels(n, &logs),
        "ays_sd15" => align_your_steps(&AYS_SD15, n),
        "ays_sdxl" => align_your_steps(&AYS_SDXL, n),
        _ => align_your_steps(&AYS_SVD, n),
    }
}

/// The table's curve at `n + 1` points, the last of which is left out for the final zero.
fn align_your_steps(table: &[f64], n: usize) -> Vec<f64> {
    resampled(table, n + 1)[..n].to_vec()
}

/// The logarithm of a level at a fractional training step.
pub(crate) fn log_interpolated(logs: &[f32], t: f64) -> f64 {
    let low = (t.floor() as usize).min(logs.len().saturating_sub(2));
    let w = t - low as f64;
    (1.0 - w) * f64::from(logs[low]) + w * f64::from(logs[(low + 1).min(logs.len() - 1)])
}

/// Another number of levels along the same curve in log sigma.
pub(crate) fn resampled(table: &[f64], n: usize) -> Vec<f64> {
    let last = table.len() - 1;
    linspace(0.0, last as f64, n)
        .iter()
        .map(|&x| {
            let low = (x.floor() as usize).min(last - 1);
            let w = x - low as f64;
            ((1.0 - w) * table[low].ln() + w * table[low + 1].ln()).exp()
        })
        .collect()
}
