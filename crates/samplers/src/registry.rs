//! All samplers, one line each, found by their diffusers `_class_name`.

use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::plan::{PlanOptions, Row, Schedule};
use serde_json::{Map, Value};

/// How `add_noise` mixes clean samples and noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseRule {
    /// sqrt(abar_t) x0 + sqrt(1 - abar_t) noise, by training timestep.
    Bars,
    /// x0 + sigma noise, by position in the schedule.
    Exploding,
    /// alpha x0 + sigma noise, by position in the schedule.
    Preserving,
    /// The class has none.
    None,
}

/// How `get_velocity` finds abar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Velocity {
    /// By training timestep.
    Bars,
    /// By position in the schedule (EulerDiscrete, as the reference does).
    Position,
    /// The class has none.
    None,
}

/// When rows draw noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stochastic {
    Never,
    Always,
    /// With this option above zero.
    WithOption(&'static str),
    /// With this config key above zero.
    WithKey(&'static str),
    /// With a stochastic `algorithm_type`.
    ByAlgorithm,
}

/// One sampler.
#[derive(Debug)]
pub struct Entry {
    /// The diffusers class.
    pub class: &'static str,
    /// Model evaluations per step.
    pub evaluations: usize,
    /// One of the classes that diffusers lists as interchangeable.
    pub compatible: bool,
    /// Itself in that list (diffusers `KarrasDiffusionSchedulers`).
    pub listed: bool,
    /// Python defaults in signature order, JSON.
    pub defaults_json: &'static str,
    /// Options of a single step, camelCase.
    pub step_options: &'static [&'static str],
    pub noise: NoiseRule,
    pub velocity: Velocity,
    pub stochastic: Stochastic,
    /// Normalises and checks a config once.
    pub(crate) check: fn(&mut Config) -> Result<()>,
    pub(crate) schedule: fn(&Config, &PlanOptions) -> Result<Schedule>,
    pub(crate) rows: fn(&Config, &PlanOptions, &Schedule) -> Result<Vec<Row>>,
}

impl Entry {
    pub(crate) fn defaults(&self) -> Map<String, Value> {
        serde_json::from_str(self.defaults_json).unwrap_or_default()
    }

    /// Can its noise levels be named by `sigma_spacing`? Not where they are fixed by the algorithm or by integer timesteps.
    pub(crate) fn spaced(&self) -> bool {
        self.defaults().contains_key("use_karras_sigmas") || self.class == "EulerAncestralDiscreteScheduler"
    }
}

/// Every sampler: a new one is a file and a line here.
pub static ENTRIES: &[Entry] = &[
    crate::ddim::ENTRY,
    crate::ddim::INVERSE,
    crate::ddpm::ENTRY,
    crate::unclip::ENTRY,
    crate::pndm::ENTRY,
    crate::lms::ENTRY,
    crate::euler::ENTRY,
    crate::euler::ANCESTRAL,
    crate::dpm_multistep::ENTRY,
    crate::dpm_multistep::INVERSE,
    crate::uni_pc::ENTRY,
    crate::heun::ENTRY,
    crate::kdpm2::ENTRY,
    crate::kdpm2::ANCESTRAL,
    crate::dpm_singlestep::ENTRY,
    crate::dpm_sde::ENTRY,
    crate::deis::ENTRY,
    crate::ipndm::ENTRY,
    crate::sa_solver::ENTRY,
    crate::lcm::ENTRY,
    crate::lcm::TCD,
    crate::edm::EULER,
    crate::edm::MULTISTEP,
    crate::dpmpp_2s_ancestral::ENTRY,
    crate::dpmpp_2s_ancestral::CFG_PP,
    crate::dpmpp_2m_cfg_pp::ENTRY,
    crate::dpmpp_3m_sde::ENTRY,
    crate::dpm_fast::ENTRY,
    crate::dpm_adaptive::ENTRY,
    crate::euler_cfg_pp::ENTRY,
    crate::euler_cfg_pp::ANCESTRAL,
    crate::res_multistep::ENTRY,
    crate::res_multistep::ANCESTRAL,
    crate::res_multistep::CFG_PP,
    crate::res_multistep::ANCESTRAL_CFG_PP,
    crate::er_sde::ENTRY,
    crate::gradient_estimation::ENTRY,
    crate::gradient_estimation::CFG_PP,
    crate::ipndm_sigmas::ENTRY,
];

/// The entry of a class name, or an error with the nearest names.
pub fn find(name: &str) -> Result<&'static Entry> {
    ENTRIES.iter().find(|e| e.class == name).ok_or_else(|| SamplerError::UnknownClass {
        name: name.chars().take(120).collect(),
        nearest: nearest(name, ENTRIES.iter().map(|e| e.class)).join(", "),
    })
}

/// The three names closest to `name` by edit distance, case ignored.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(120).collect();
    let mut ranked: Vec<(usize, &str)> = names.map(|n| (distance(&wanted, &n.to_lowercase().chars().collect::<Vec<_>>()), n)).collect();
    ranked.sort_by_key(|(d, _)| *d);
    ranked.into_iter().take(3).map(|(_, n)| n).collect()
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
