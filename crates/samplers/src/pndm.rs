//! PNDM: pseudo Runge-Kutta warm-up (PRK) and pseudo linear multistep (PLMS), arXiv:2202.09778.
//!
//! Legend: a = abar at t, p = abar at the previous timestep, e = combined noise prediction. Transfer (9):
//! next = sqrt(p/a) x - (p - a) e / (a sqrt(1 - p) + sqrt(a (1 - a) p)).
//! Source: diffusers scheduling_pndm.py. Its counter starts where the run starts, so a later `begin_index` warms up there.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::ddim::{bar, final_bar};
use crate::error::{Result, SamplerError};
use crate::lin::{reg, Lin};
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{preserving, NO_SAMPLE};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::timesteps::inclusive;

pub(crate) const ENTRY: Entry = Entry {
    class: "PNDMScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "skip_prk_steps":false, "set_alpha_to_one":false, "prediction_type":"epsilon", "timestep_spacing":"leading",
    "steps_offset":0
}"#,
    step_options: &[],
    noise: NoiseRule::Bars,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |_| Ok(()),
    schedule,
    rows,
};

/// Row counts of the warm-up and its timesteps, newest last in `extra`.
pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(train)?;
    let mut grid = inclusive(config, train, steps)?;
    let (warm, timesteps) = if config.flag("skip_prk_steps") {
        if grid.len() > 1 {
            grid.insert(1, grid[1]);
        }
        (Vec::new(), grid)
    } else {
        if steps < 4 {
            return Err(SamplerError::argument("numInferenceSteps", "at least 4 (skip_prk_steps is false)", steps.to_string()));
        }
        let half = (train / steps / 2) as f64;
        let pairs: Vec<f64> = grid[..4].iter().flat_map(|t| [t + half, *t]).collect();
        let doubled: Vec<f64> = pairs[1..].iter().flat_map(|t| [*t, *t]).collect();
        let warm = doubled[1..doubled.len() - 1].to_vec();
        let timesteps = [&warm[..], &grid[3..]].concat();
        (warm, timesteps)
    };
    let bars = alphas_cumprod(config, COMMON)?;
    Ok(Schedule { timesteps, integer: true, init_noise_sigma: 1.0, order: 1, bars, steps, extra: warm, ..Schedule::default() })
}

struct Transfer<'a> {
    config: &'a Config,
    schedule: &'a Schedule,
    kind: &'static str,
}

impl Transfer<'_> {
    /// Moves `sample` from timestep `t` to `previous` along the combined model output `e`.
    fn apply(&self, sample: Lin, t: f64, previous: f64, e: Lin) -> Result<Lin> {
        let a = bar(self.schedule, t)?;
        let p = if previous >= 0.0 { bar(self.schedule, previous)? } else { final_bar(self.config, self.schedule) };
        let e = if self.kind == "epsilon" { e } else { e * a.sqrt() + sample.clone() * (1.0 - a).sqrt() };
        let divisor = a * (1.0 - p).sqrt() + (a * (1.0 - a) * p).sqrt();
        Ok(sample * (p / a).sqrt() - e * ((p - a) / divisor))
    }
}

/// The Adams-Bashforth combination of the newest outputs (oldest first in `m`).
pub(crate) fn adams_bashforth(m: &[Lin]) -> Lin {
    let at = |back: usize| m[m.len() - back].clone();
    match m.len() {
        1 => at(1),
        2 => (at(1) * 3.0 - at(2)) * 0.5,
        3 => (at(1) * 23.0 - at(2) * 16.0 + at(3) * 5.0) * (1.0 / 12.0),
        _ => (at(1) * 55.0 - at(2) * 59.0 + at(3) * 37.0 - at(4) * 9.0) * (1.0 / 24.0),
    }
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", NO_SAMPLE)?;
    let transfer = Transfer { config, schedule, kind };
    let stride = (config.train_steps()? / schedule.steps) as f64;
    let half = (config.train_steps()? / schedule.steps / 2) as f64;
    let begin = options.begin_index;
    let mut history: Vec<Lin> = Vec::new();
    let mut base = reg("sample");
    let mut sum = Lin::default();
    let mut rows = Vec::new();
    for i in begin..schedule.timesteps.len() {
        let count = i - begin;
        let mut row = Row::at(schedule, i);
        let a = bar(schedule, row.t)?;
        row.sigma = ((1.0 - a) / a).sqrt();
        row.x0 = preserving(kind, a.sqrt(), (1.0 - a).sqrt()).x0;
        row.value = Some(reg("output"));
        let output = reg(format!("m{i}"));
        if count < schedule.extra.len() {
            if count.is_multiple_of(4) {
                history.push(output.clone());
                row.save.push((format!("s{i}"), reg("sample")));
                base = reg(format!("s{i}"));
                sum = Lin::default();
            }
            let e = if count % 4 == 3 { sum.clone() + output.clone() * (1.0 / 6.0) } else { output.clone() };
            sum = sum + output * if count.is_multiple_of(4) { 1.0 / 6.0 } else { 1.0 / 3.0 };
            let previous = row.t - if count % 2 == 1 { 0.0 } else { half };
            row.next = transfer.apply(base.clone(), schedule.extra[count / 4 * 4], previous, e)?;
        } else if count == 1 {
            let e = (output + history[history.len() - 1].clone()) * 0.5;
            row.next = transfer.apply(base.clone(), row.t + stride, row.t, e)?;
        } else {
            if count == 0 {
                row.save.push((format!("s{i}"), reg("sample")));
                base = reg(format!("s{i}"));
            }
            history.push(output);
            let newest = &history[history.len().saturating_sub(4)..];
            row.next = transfer.apply(reg("sample"), row.t, row.t - stride, adams_bashforth(newest))?;
        }
        rows.push(row);
    }
    Ok(rows)
}
