//! Named noise levels that are no config key in diffusers: chosen per run by the option `sigmaSchedule`.
//!
//! polyexponential (k-diffusion, rho 1 gives exponential), kl_optimal (arXiv:2404.14507 section 4: arctangent steps), sgm_uniform and
//! simple (ComfyUI: even training steps), and Align Your Steps (arXiv:2404.14507 appendix; ten levels, log-interpolated to others).

use crate::betas::{log_f32, train_sigmas};
use crate::error::{Result, SamplerError};
use crate::plan::PlanOptions;
use crate::sigmas::polyexponential;
use crate::timesteps::linspace;

/// Names that `sigmaSchedule` takes.
pub const SIGMA_SCHEDULES: &[&str] = &["polyexponential", "kl_optimal", "sgm_uniform", "simple", "ays_sd15", "ays_sdxl", "ays_svd"];

const AYS_SD15: [f64; 10] = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152];
const AYS_SDXL: [f64; 10] = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113];
const AYS_SVD: [f64; 10] = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034];

/// Custom sigmas, or those of the named schedule, with the final zero; `None` where the run asks for neither.
pub(crate) fn chosen(options: &PlanOptions, bars: &[f32]) -> Result<Option<Vec<f64>>> {
    let Some(name) = &options.sigma_schedule else { return options.custom_sigmas() };
    let Some(known) = SIGMA_SCHEDULES.iter().find(|known| *known == name) else {
        return Err(SamplerError::argument("sigmaSchedule", format!("one of {}", SIGMA_SCHEDULES.join(", ")), format!("{name:?}")));
    };
    let plain = PlanOptions { sigma_schedule: None, ..options.clone() };
    let n = plain.steps_only(10_000)?;
    let mut sigmas = levels(known, n, bars);
    sigmas.push(0.0);
    Ok(Some(sigmas))
}

fn levels(name: &str, n: usize, bars: &[f32]) -> Vec<f64> {
    let train: Vec<f64> = train_sigmas(bars).iter().map(|s| f64::from(*s)).collect();
    let (high, low) = (train[train.len() - 1], train[0]);
    match name {
        "polyexponential" => polyexponential(high, low, n, 1.0),
        "kl_optimal" => linspace(0.0, 1.0, n).iter().map(|r| (r * low.atan() + (1.0 - r) * high.atan()).tan()).collect(),
        "sgm_uniform" => {
            let logs = log_f32(&train_sigmas(bars));
            let steps = linspace(train.len() as f64 - 1.0, 0.0, n + 1);
            steps[..n].iter().map(|&t| at(&logs, t).exp()).collect()
        }
        "simple" => (0..n).map(|i| train[train.len() - 1 - (i as f64 * train.len() as f64 / n as f64) as usize]).collect(),
        "ays_sd15" => respaced(&AYS_SD15, n),
        "ays_sdxl" => respaced(&AYS_SDXL, n),
        _ => respaced(&AYS_SVD, n),
    }
}

fn at(logs: &[f32], t: f64) -> f64 {
    let low = (t.floor() as usize).min(logs.len().saturating_sub(2));
    let w = t - low as f64;
    (1.0 - w) * f64::from(logs[low]) + w * f64::from(logs[low + 1])
}

/// Another number of levels along the same curve in log sigma.
fn respaced(table: &[f64], n: usize) -> Vec<f64> {
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
