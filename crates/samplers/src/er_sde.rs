//! ER-SDE 3 (ComfyUI `sample_er_sde`; arXiv:2309.06169): extended reverse-time SDE solver with noise scale phi(s) = s (e^(s^0.3) + 10).
//!
//! r = phi(s') / phi(s): next = r x + (1 - r) x0 + (s' - s + phi(s') I0) d1 + ((s' - s)^2 / 2 + phi(s') I1) d2 + sqrt(s'^2 - r^2 s^2) noise,
//! with d1, d2 divided differences of x0 over sigma and I0, I1 the integrals of 1/phi and (u - s)/phi from s' to s (200 points).

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, Stochastic};

pub(crate) const ENTRY: Entry = Entry { step_options: &["sNoise"], stochastic: Stochastic::Always, ..k_family::entry("ERSDEScheduler", rows) };

const POINTS: usize = 200;

fn phi(sigma: f64) -> f64 {
    sigma * (sigma.powf(0.3).exp() + 10.0)
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    let begin = options.begin_index;
    k_family::rows(config, options, schedule, |row, s, t| {
        let i = row.index;
        let newest = k_family::keep(row);
        if t == 0.0 {
            return newest;
        }
        let m = |k: usize| reg(format!("m{k}"));
        let slope = |k: usize| -> Lin { (m(k) - m(k - 1)) * (1.0 / (sigmas[k] - sigmas[k - 1])) };
        let r = phi(t) / phi(s);
        let (dt, width) = (t - s, (s - t) / POINTS as f64);
        let points = || (0..POINTS).map(|k| t + k as f64 * width);
        let mut next = reg("sample") * r + newest * (1.0 - r);
        if i > begin {
            let integral: f64 = points().map(|u| width / phi(u)).sum();
            next = next + slope(i) * (dt + integral * phi(t));
        }
        if i > begin + 1 {
            let integral: f64 = points().map(|u| (u - s) * width / phi(u)).sum();
            let bend = (slope(i) - slope(i - 1)) * (2.0 / (s - sigmas[i - 2]));
            next = next + bend * (dt * dt / 2.0 + integral * phi(t));
        }
        row.noise = Some(Noise::Normal);
        next + reg("noise") * ((t * t - s * s * r * r).max(0.0).sqrt() * options.s_noise.unwrap_or(1.0))
    })
}
