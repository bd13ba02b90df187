//! DPM++ 3M SDE (k-diffusion `sample_dpmpp_3m_sde`): third-order multistep with Brownian noise of strength `eta` (default 1).
//!
//! h = ln(s / s'), g = h (1 + eta): next = e^-g x + (1 - e^-g) x0 + phi2 d1 - phi3 d2 + s' sqrt(1 - e^(-2 h eta)) noise, with
//! phi2 = (e^-g - 1)/g + 1, phi3 = phi2/g - 1/2 and d1, d2 the scaled derivatives from the last three predictions.

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, Stochastic};

pub(crate) const ENTRY: Entry =
    Entry { step_options: &["eta", "sNoise"], stochastic: Stochastic::Always, ..k_family::entry("DPMPlusPlus3MSDEScheduler", rows) };

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    let eta = options.eta.unwrap_or(1.0);
    let high = sigmas.iter().copied().fold(0.0, f64::max);
    let low = sigmas.iter().copied().filter(|s| *s > 0.0).fold(f64::INFINITY, f64::min);
    let begin = options.begin_index;
    k_family::rows(config, options, schedule, |row, from, to| {
        let i = row.index;
        let newest = k_family::keep(row);
        if to == 0.0 {
            return newest;
        }
        let span = |k: usize| (sigmas[k] / sigmas[k + 1]).ln();
        let m = |k: usize| reg(format!("m{k}"));
        let h = span(i);
        let g = h * (1.0 + eta);
        let (phi2, decay) = ((-g).exp_m1() / g + 1.0, (-g).exp());
        let slope = |k: usize| -> Lin { (m(k + 1) - m(k)) * (h / span(k)) };
        let first = reg("sample") * decay + newest * (1.0 - decay);
        let next = match i - begin {
            0 => first,
            1 => first + slope(i - 1) * phi2,
            _ => {
                let (r0, r1) = (span(i - 1) / h, span(i - 2) / h);
                let bend = slope(i - 1) - slope(i - 2);
                let d1 = slope(i - 1) + bend.clone() * (r0 / (r0 + r1));
                first + d1 * phi2 - bend * ((phi2 / g - 0.5) / (r0 + r1))
            }
        };
        if eta <= 0.0 {
            return next;
        }
        row.noise = Some(Noise::Brownian { from, to, low, high });
        next + reg("noise") * (to * (-(-2.0 * h * eta).exp_m1()).sqrt() * options.s_noise.unwrap_or(1.0))
    })
}
