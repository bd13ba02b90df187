//! A scheduler: a checked config that gives plans and noising coefficients.

use crate::config::Config;
use crate::dpm_solver::points;
use crate::error::{Result, SamplerError};
use crate::plan::{seal, Plan, PlanOptions, Schedule};
use crate::registry::{NoiseRule, Velocity};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// One sampler with its configuration; holds no run state.
#[derive(Debug, Clone)]
pub struct Scheduler {
    config: Config,
}

/// Coefficients per timestep: `noisy = clean * c[0] + noise * c[1]`, `velocity = clean * c[0] + noise * c[1]`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseCoefficients {
    /// `None` where the class cannot add noise.
    pub add_noise: Option<Vec<[f64; 2]>>,
    /// `None` where the class has no velocity.
    pub velocity: Option<Vec<[f64; 2]>>,
}

impl Scheduler {
    /// From diffusers' JSON, chosen by `_class_name`; missing keys take the Python defaults.
    pub fn from_config(config: &Map<String, Value>) -> Result<Scheduler> {
        Ok(Scheduler { config: Config::new(config)? })
    }

    /// The full configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The config of a run: `sigmaSpacing` takes the place of the config's own.
    fn config_of(&self, options: &PlanOptions) -> Result<Cow<'_, Config>> {
        Ok(match &options.sigma_spacing {
            Some(name) if options.sigmas.is_some() => {
                return Err(SamplerError::argument("sigmaSpacing", "only one of sigmas and sigmaSpacing", format!("{name:?}")));
            }
            Some(name) => Cow::Owned(self.config.with_spacing(name)?),
            None => Cow::Borrowed(&self.config),
        })
    }

    fn schedule(&self, config: &Config, options: &PlanOptions) -> Result<Schedule> {
        let schedule = (config.entry.schedule)(config, options)?;
        if options.begin_index >= schedule.timesteps.len() {
            let most = schedule.timesteps.len().saturating_sub(1);
            return Err(SamplerError::argument("beginIndex", format!("an integer from 0 to {most}"), options.begin_index.to_string()));
        }
        Ok(schedule)
    }

    /// Everything a run needs, decided beforehand.
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan> {
        let config = self.config_of(options)?;
        let schedule = self.schedule(&config, options)?;
        let mut rows = (config.entry.rows)(&config, options, &schedule)?;
        seal(&mut rows);
        Ok(Plan {
            class_name: self.config.class(),
            timesteps_dtype: if schedule.integer { "int64" } else { "float32" },
            init_noise_sigma: schedule.init_noise_sigma,
            order: schedule.order,
            begin_index: options.begin_index,
            stochastic: rows.iter().any(|r| r.noise.is_some()),
            unconditional: rows.iter().any(|r| r.reads("uncond")),
            timesteps: schedule.timesteps,
            sigmas: schedule.sigmas,
            rows,
        })
    }

    /// Coefficients of forward noising and of the velocity target at `timesteps`. With `begin` (a run that starts later)
    /// every item is noised to that position, as the reference does.
    pub fn noise(&self, options: &PlanOptions, timesteps: &[f64], begin: Option<usize>) -> Result<NoiseCoefficients> {
        let entry = self.config.entry;
        let by_bars = |schedule: &Schedule, t: f64| -> Result<f64> {
            let most = schedule.bars.len().saturating_sub(1);
            let fits = t.fract() == 0.0 && t >= 0.0 && t <= most as f64;
            let wrong = || SamplerError::argument("timesteps", format!("integers from 0 to {most}"), t.to_string());
            fits.then(|| f64::from(schedule.bars[t as usize])).ok_or_else(wrong)
        };
        let needs_run = entry.noise != NoiseRule::Bars || entry.velocity == Velocity::Position;
        let none_given = options.num_inference_steps.is_none() && options.timesteps.is_none() && options.sigmas.is_none();
        let schedule = match none_given && !needs_run {
            true => self.schedule(&self.config, &PlanOptions::steps(1))?,
            false => self.schedule(&*self.config_of(options)?, options)?,
        };
        if let Some(index) = begin.filter(|&i| i > schedule.timesteps.len()) {
            return Err(SamplerError::argument("begin", format!("an index up to {}", schedule.timesteps.len()), index.to_string()));
        }
        let positions: Vec<usize> = timesteps.iter().map(|&t| begin.unwrap_or_else(|| position(&schedule, t))).collect();
        let add_noise = match entry.noise {
            NoiseRule::None => None,
            NoiseRule::Bars => Some(timesteps.iter().map(|&t| by_bars(&schedule, t).map(|a| [a.sqrt(), (1.0 - a).sqrt()])).collect::<Result<_>>()?),
            NoiseRule::Exploding => Some(positions.iter().map(|&i| [1.0, schedule.sigmas[i]]).collect()),
            NoiseRule::Preserving => {
                let points = points(&self.config, &schedule.sigmas);
                Some(positions.iter().map(|&i| [points[i].alpha, points[i].sigma]).collect())
            }
        };
        let velocity = match entry.velocity {
            Velocity::None => None,
            Velocity::Bars => Some(timesteps.iter().map(|&t| by_bars(&schedule, t).map(|a| [-(1.0 - a).sqrt(), a.sqrt()])).collect::<Result<_>>()?),
            Velocity::Position => Some(
                positions
                    .iter()
                    .map(|&i| {
                        let a = f64::from(schedule.bars[i.min(schedule.bars.len() - 1)]);
                        [-(1.0 - a).sqrt(), a.sqrt()]
                    })
                    .collect(),
            ),
        };
        Ok(NoiseCoefficients { add_noise, velocity })
    }
}

/// Position of a timestep in a schedule: the nearest within 0.001, the second of equals; the last where none is near.
fn position(schedule: &Schedule, t: f64) -> usize {
    let distance = |s: &f64| (s - t).abs();
    let least = schedule.timesteps.iter().map(distance).fold(1e-3, f64::min);
    let mut found = schedule.timesteps.iter().enumerate().filter(|(_, s)| distance(s) <= least).map(|(i, _)| i);
    let first = found.next();
    found.next().or(first).unwrap_or(schedule.timesteps.len() - 1)
}
