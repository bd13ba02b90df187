//! The schedule shared by the k-diffusion family (LMS, Euler, Heun, KDPM2, DPM SDE): real timesteps, the sigmas of
//! those timesteps or their Karras, exponential or beta respacing, and a final zero.

use crate::betas::{log_f32, train_sigmas};
use crate::config::Config;
use crate::error::Result;
use crate::lin::{reg, Lin};
use crate::plan::{Row, Schedule};
use crate::sigma_schedules::levels;
use crate::sigmas::{beta, ends, exponential, interpolate, karras, sigma_to_t, spacing, Spacing};

/// Timesteps (not yet rounded to f32) and sigmas without the final value. `bounded`: the class reads `sigma_min` and
/// `sigma_max` of the config also for Karras.
pub(crate) fn respace(config: &Config, bars: &[f32], timesteps: Vec<f64>, sigmas: Vec<f64>, bounded: bool) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = timesteps.len();
    let (first, last) = (sigmas[0], sigmas[sigmas.len() - 1]);
    let (high, low) = ends(config, first, last)?;
    let respaced = match spacing(config) {
        Spacing::Karras if bounded => karras(high, low, n, 7.0),
        Spacing::Karras => karras(first, last, n, 7.0),
        Spacing::Exponential => exponential(high, low, n),
        Spacing::Beta => beta(high, low, n),
        Spacing::Named(name) => levels(name, n, bars),
        _ => return Ok((timesteps, sigmas)),
    };
    let logs = log_f32(&train_sigmas(bars));
    Ok((respaced.iter().map(|&s| sigma_to_t(s, &logs)).collect(), respaced))
}

/// Sigmas of real timesteps.
pub(crate) fn at_timesteps(bars: &[f32], timesteps: &[f64]) -> Vec<f64> {
    interpolate(timesteps, &train_sigmas(bars))
}

/// Scale of the initial noise: the largest sigma, or sqrt(sigma^2 + 1) with leading spacing.
pub(crate) fn init_noise_sigma(config: &Config, sigmas: &[f64]) -> f64 {
    let highest = sigmas.iter().copied().fold(0.0, f64::max);
    match config.get("timestep_spacing").as_str() {
        Some("linspace" | "trailing") => highest,
        _ => f64::from((highest as f32 * highest as f32 + 1.0).sqrt()),
    }
}

/// Factor that brings a variance-exploding sample to unit variance; the divisor is an f32 as in the reference.
pub(crate) fn input_scale(sigma: f64) -> f64 {
    let sigma = sigma as f32;
    1.0 / f64::from((sigma * sigma + 1.0).sqrt())
}

/// A two-evaluation schedule: every step but the first timestep and every inner sigma appears twice.
pub(crate) fn doubled(timesteps: Vec<f64>, sigmas: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
    let twice = |v: &[f64]| v.iter().flat_map(|x| [*x, *x]).collect::<Vec<_>>();
    let last = sigmas.len() - 1;
    let sigmas = [&sigmas[..1], &twice(&sigmas[1..last]), &sigmas[last..]].concat();
    ([&timesteps[..1], &twice(&timesteps[1..])].concat(), sigmas)
}

/// `schedule` with `init_noise_sigma` of its sigmas.
pub(crate) fn finish(config: &Config, mut schedule: Schedule) -> Schedule {
    schedule.init_noise_sigma = init_noise_sigma(config, &schedule.sigmas);
    schedule
}

/// Saves the slope `(sample - x0) / sigma` of a row and gives its register. Difference and quotient are rounded one after the
/// other, as the reference does: from a high sigma to a low one the sample nearly cancels, and the rounding is what remains.
pub(crate) fn slope(row: &mut Row, sigma: f64) -> Lin {
    let (difference, slope) = (format!("d{}", row.index), format!("e{}", row.index));
    row.save.push((difference.clone(), reg("sample") - reg("x0")));
    row.save.push((slope.clone(), reg(difference) * (1.0 / sigma)));
    reg(slope)
}

/// Sets `next` to `base + slope * dt`, product and `dt` rounded to f32 on their own (see [`slope`]).
pub(crate) fn advance(row: &mut Row, base: Lin, slope: Lin, dt: f64) {
    let product = format!("p{}", row.index);
    row.save.push((product.clone(), slope * f64::from(dt as f32)));
    row.next = base + reg(product);
}
