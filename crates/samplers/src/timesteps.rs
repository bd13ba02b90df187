//! Which training timesteps a run visits: `timestep_spacing` leading, linspace, trailing (arXiv:2305.08891 table 2).
//!
//! Three families of the reference differ in rounding and count; numpy's semantics (half-to-even rounding, arange by
//! accumulated step) are kept because the timesteps must be equal.

use crate::config::Config;
use crate::error::Result;

/// numpy.linspace with both ends.
pub(crate) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n as f64 - 1.0);
    (0..n).map(|i| if i + 1 == n { end } else { i as f64 * step + start }).collect()
}

/// numpy.arange(start, 0, -ratio): at most `n` values.
fn countdown(start: f64, ratio: f64, n: usize) -> Vec<f64> {
    let step = (start - ratio) - start;
    let count = ((start / ratio).ceil() as usize).min(n);
    (0..count).map(|i| start + i as f64 * step).collect()
}

const SPACINGS: &[&str] = &["linspace", "leading", "trailing"];

/// Descending integers from T-1 to 0 inclusive (DDIM, DDPM, PNDM). `T` training steps, `n` inference steps.
pub(crate) fn inclusive(config: &Config, train: usize, n: usize) -> Result<Vec<f64>> {
    let values = spaced(config, train, n)?;
    Ok(if config.get("timestep_spacing") == "linspace" { values.iter().map(|t| t.round_ties_even()).collect() } else { values })
}

/// Descending reals (LMS, Euler, Heun, KDPM2): linspace is not rounded.
pub(crate) fn spaced(config: &Config, train: usize, n: usize) -> Result<Vec<f64>> {
    Ok(match config.choice("timestep_spacing", SPACINGS)? {
        "linspace" => linspace(0.0, train as f64 - 1.0, n).into_iter().rev().collect(),
        "leading" => {
            let (ratio, offset) = (train / n, config.integer("steps_offset")? as f64);
            (0..n).rev().map(|i| (i * ratio) as f64 + offset).collect()
        }
        _ => countdown(train as f64, train as f64 / n as f64, n).iter().map(|t| t.round_ties_even() - 1.0).collect(),
    })
}

/// Descending integers of the exponential integrators (DPM-Solver, UniPC, DEIS, SA-Solver): n + 1 points without the
/// last. `last` is the number of usable training steps (T less those clipped by `lambda_min_clipped`).
pub(crate) fn exclusive(config: &Config, train: usize, last: usize, n: usize) -> Result<Vec<f64>> {
    Ok(match config.choice("timestep_spacing", SPACINGS)? {
        "linspace" => linspace(0.0, last as f64 - 1.0, n + 1)[1..].iter().rev().map(|t| t.round_ties_even()).collect(),
        "leading" => {
            let (ratio, offset) = (last / (n + 1), config.integer("steps_offset")? as f64);
            (1..=n).rev().map(|i| (i * ratio) as f64 + offset).collect()
        }
        _ => countdown(last as f64, train as f64 / n as f64, n).iter().map(|t| t.round_ties_even() - 1.0).collect(),
    })
}
