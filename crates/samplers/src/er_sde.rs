//! ER-SDE 3 (ComfyUI `sample_er_sde`; arXiv:2309.06169): extended reverse-time SDE solver with noise scale phi(s) = s (e^(s^0.3) + 10).
//!
//! r = phi(s') / phi(s): next = r x + (1 - r) x0 + (s' - s + phi(s') I0) d1 + ((s' - s)^2 / 2 + phi(s') I1) d2 + sqrt(s'^2 - r^2 s^2) noise,
//! with d1, d2 divided differences of x0 over sigma and I0, I1 the integrals of 1/phi and (u - s)/phi from s' to s (200 points).

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::lin::{reg, Lin};
use crate::plan::{Noise, PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};

pub(crate) const ENTRY: Entry = Entry {
    class: "ERSDEScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: k_family::DEFAULTS,
    step_options: &["sNoise"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Always,
    check: |config| config.check_sigma_flags(),
    schedule: k_family::schedule,
    rows,
};

const POINTS: usize = 200;

fn phi(sigma: f64) -> f64 {
    sigma * (sigma.powf(0.3).exp() + 10.0)
}

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    let begin = options.begin_index;
    (begin..schedule.timesteps.len())
        .map(|i| {
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            let newest = k_family::keep(&mut row);
            let (s, t) = (sigmas[i], sigmas[i + 1]);
            if t == 0.0 {
                row.next = newest;
                return Ok(row);
            }
            let m = |k: usize| reg(format!("m{k}"));
            let slope = |k: usize| -> Lin { (m(k) - m(k - 1)) * (1.0 / (sigmas[k] - sigmas[k - 1])) };
            let r = phi(t) / phi(s);
            let (dt, width) = (t - s, (s - t) / POINTS as f64);
            let points = || (0..POINTS).map(|k| t + k as f64 * width);
            row.next = reg("sample") * r + newest * (1.0 - r);
            if i > begin {
                let integral: f64 = points().map(|u| width / phi(u)).sum();
                row.next = row.next + slope(i) * (dt + integral * phi(t));
            }
            if i > begin + 1 {
                let integral: f64 = points().map(|u| (u - s) * width / phi(u)).sum();
                let bend = (slope(i) - slope(i - 1)) * (2.0 / (s - sigmas[i - 2]));
                row.next = row.next + bend * (dt * dt / 2.0 + integral * phi(t));
            }
            row.noise = Some(Noise::Normal);
            let amount = (t * t - s * s * r * r).max(0.0).sqrt() * options.s_noise.unwrap_or(1.0);
            row.next = row.next + reg("noise") * amount;
            Ok(row)
        })
        .collect()
}
