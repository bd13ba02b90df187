//! The plan: every number of a sampling run, decided before the first model call.
//!
//! A row is one model evaluation. Executing row `i` with the model's answer `output`:
//! 1. `noise` present: draw one normal tensor (or a Brownian increment) into the register `noise`; `variance` present: `output` is the first half of the
//!    answer's channels, and the second half scales the noise;
//! 2. `churn` present: it replaces `sample`;
//! 3. each entry of `prepare` becomes a register; `x0` := its combination of `sample`, `output` and these, then `clip`;
//! 4. `value` present: it becomes register `m<i>`;
//! 5. `correct` present: it replaces `sample`;
//! 6. each entry of `save` becomes a register;
//! 7. the result is `next`; what a caller sees as the clean prediction is `denoised`, or `x0` without it; `estimate` is a second result;
//! 8. the registers in `drop` are no longer needed.
//!
//! Nothing else is remembered. A run that starts later (image to image) is another plan with that `begin_index`, because
//! multistep methods warm up from where they begin.

use crate::error::{show, Result, SamplerError};
use crate::lin::Lin;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// Choices of one run. Every field is optional but one of steps, timesteps, sigmas.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanOptions {
    /// Inference steps, 1 to 10000.
    pub num_inference_steps: Option<Value>,
    /// Custom training timesteps, descending.
    pub timesteps: Option<Vec<f64>>,
    /// Custom noise levels, descending, the final zero included.
    pub sigmas: Option<Vec<f64>>,
    /// Named noise levels in place of the config's; see `SIGMA_SPACINGS`.
    pub sigma_spacing: Option<String>,
    /// First row to execute. Default 0.
    pub begin_index: usize,
    /// DDIM, TCD: share of fresh noise, 0 to 1. Defaults 0 and 0.3.
    pub eta: Option<f64>,
    /// DDIM: derive the direction from the clipped clean sample.
    pub use_clipped_model_output: bool,
    /// Euler, EDMEuler: amount of churn. Default 0.
    pub s_churn: f64,
    /// Lowest sigma with churn. Default 0.
    pub s_tmin: f64,
    /// Highest sigma with churn. Default infinite.
    pub s_tmax: Option<f64>,
    /// Scale of drawn noise. Default 1.
    pub s_noise: Option<f64>,
    /// LMS: order, 1 to 8. Default 4.
    pub order: Option<usize>,
    /// LCM, TCD: share of the schedule that is run.
    pub strength: Option<f64>,
    /// LCM, TCD: steps of the distillation schedule.
    pub original_inference_steps: Option<usize>,
    /// Flow sigmas with dynamic shifting: the shift's logarithm.
    pub mu: Option<f64>,
}

impl PlanOptions {
    /// The options of a run of `n` steps.
    pub fn steps(n: usize) -> PlanOptions {
        PlanOptions { num_inference_steps: Some(Value::from(n)), ..PlanOptions::default() }
    }

    /// Reads options from JSON.
    pub fn parse(text: &str) -> Result<PlanOptions> {
        let options: PlanOptions =
            serde_json::from_str(text).map_err(|e| SamplerError::argument("options", "a plan options object", e.to_string()))?;
        let finite = [
            ("eta", options.eta),
            ("sChurn", Some(options.s_churn)),
            ("sTmin", Some(options.s_tmin)),
            ("sNoise", options.s_noise),
            ("strength", options.strength),
        ];
        for (name, value) in finite {
            if value.is_some_and(|v| !v.is_finite() || v < 0.0) {
                return Err(SamplerError::argument(name, "a number of at least 0", format!("{value:?}")));
            }
        }
        Ok(options)
    }

    /// The number of steps where given: an integer from 1 to `most`.
    pub(crate) fn count(&self, most: usize) -> Result<Option<usize>> {
        match &self.num_inference_steps {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(n) if n.fract() == 0.0 && n >= 1.0 && n <= most as f64 => Ok(Some(n as usize)),
                _ => Err(SamplerError::argument("numInferenceSteps", format!("an integer from 1 to {most}"), show(value))),
            },
        }
    }

    /// The number of steps of a class that takes nothing else.
    pub(crate) fn steps_only(&self, most: usize) -> Result<usize> {
        self.no_sigmas()?;
        self.no_timesteps()?;
        self.count(most)?.ok_or_else(|| SamplerError::argument("numInferenceSteps", format!("an integer from 1 to {most}"), "nothing"))
    }

    pub(crate) fn no_sigmas(&self) -> Result<()> {
        match &self.sigmas {
            Some(list) => Err(SamplerError::argument("sigmas", "nothing (this scheduler takes no custom sigmas)", format!("{list:?}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn no_timesteps(&self) -> Result<()> {
        match &self.timesteps {
            Some(list) => Err(SamplerError::argument("timesteps", "nothing (this scheduler takes no custom timesteps)", format!("{list:?}"))),
            None => Ok(()),
        }
    }

    /// Custom timesteps: integers below `train`, strictly descending.
    pub(crate) fn custom_timesteps(&self, train: usize) -> Result<Option<Vec<f64>>> {
        let Some(list) = &self.timesteps else { return Ok(None) };
        let wrong = || SamplerError::argument("timesteps", format!("descending integers from 0 to {}", train - 1), format!("{list:?}"));
        let fits = |t: &f64| t.fract() == 0.0 && *t >= 0.0 && *t < train as f64;
        if list.is_empty() || !list.iter().all(fits) || list.windows(2).any(|w| w[1] >= w[0]) {
            return Err(wrong());
        }
        if self.count(usize::MAX >> 12)?.is_some() || self.sigmas.is_some() {
            return Err(SamplerError::argument("timesteps", "only one of numInferenceSteps, timesteps, sigmas", format!("{list:?}")));
        }
        Ok(Some(list.clone()))
    }

    /// Custom noise levels: non-negative, descending.
    pub(crate) fn custom_sigmas(&self) -> Result<Option<Vec<f64>>> {
        let Some(list) = &self.sigmas else { return Ok(None) };
        let fits = |s: &f64| s.is_finite() && *s >= 0.0;
        if list.len() < 2 || !list.iter().all(fits) || list.windows(2).any(|w| w[1] >= w[0]) {
            return Err(SamplerError::argument("sigmas", "at least two descending numbers of at least 0", format!("{list:?}")));
        }
        if self.count(usize::MAX >> 12)?.is_some() || self.timesteps.is_some() {
            return Err(SamplerError::argument("sigmas", "only one of numInferenceSteps, timesteps, sigmas", format!("{list:?}")));
        }
        Ok(Some(list.clone()))
    }
}

/// Timesteps and noise levels of a run, before the rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedule {
    pub timesteps: Vec<f64>,
    /// True where the reference holds timesteps as integers.
    pub integer: bool,
    pub sigmas: Vec<f64>,
    pub init_noise_sigma: f64,
    /// Model evaluations per step.
    pub order: usize,
    /// abar of training, where the class has one.
    pub bars: Vec<f32>,
    /// The number of steps that was asked for.
    pub steps: usize,
    /// Values only one class needs (KDPM2: interpolated sigmas; singlestep: orders).
    pub extra: Vec<f64>,
}

/// How the predicted clean sample is limited.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Clip {
    /// Clamp to [-range, range].
    Range { range: f64 },
    /// Dynamic thresholding (Imagen): s = quantile(|x0|, ratio) per image, clamped to [1, max]; x0 = clamp(x0, -s, s) / s.
    Threshold { ratio: f64, max: f64 },
}

/// What a row draws.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Noise {
    /// One standard normal tensor.
    Normal,
    /// The increment of a Brownian path between two noise levels, divided by the root of their distance.
    Brownian { from: f64, to: f64, low: f64, high: f64 },
}

/// How much noise a model asks for with the second half of its channels, v: the noise is multiplied by the square root of
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Variance {
    /// v itself.
    Direct,
    /// The geometric mean of two variances, weighted by (1 - v) / 2 and (1 + v) / 2; their natural logarithms. arXiv:2102.09672, formula (15).
    #[serde(rename_all = "camelCase")]
    Range { min_log: f64, max_log: f64 },
}

/// One model evaluation; see the module's text for the order of execution.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Position in `timesteps`.
    pub index: usize,
    /// The timestep the model receives.
    pub t: f64,
    /// Noise level of the evaluation, sqrt((1 - abar) / abar).
    pub sigma: f64,
    /// Factor on the sample before the model sees it.
    pub input_scale: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<Variance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Lin>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "save_map")]
    pub prepare: Vec<(String, Lin)>,
    pub x0: Lin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Lin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<Lin>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "save_map")]
    pub save: Vec<(String, Lin)>,
    pub next: Lin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoised: Option<Lin>,
    /// The step's result by a lower order, for whoever controls the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Lin>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Why this row cannot be executed (a coefficient is infinite); executing it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

fn save_map<S: serde::Serializer>(save: &[(String, Lin)], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(save.iter().map(|(k, v)| (k, v)))
}

impl Row {
    pub(crate) fn at(schedule: &Schedule, index: usize) -> Row {
        Row { index, t: schedule.timesteps[index], input_scale: 1.0, ..Row::default() }
    }

    fn combinations(&self) -> impl Iterator<Item = &Lin> {
        let optional = [&self.churn, &self.value, &self.correct, &self.denoised, &self.estimate].into_iter().flatten();
        optional.chain([&self.x0, &self.next]).chain(self.prepare.iter().chain(&self.save).map(|(_, l)| l))
    }

    /// True where a combination reads `register`.
    pub(crate) fn reads(&self, register: &str) -> bool {
        self.combinations().any(|l| l.reads(register))
    }

    fn makes(&self) -> Vec<String> {
        let value = self.value.as_ref().map(|_| format!("m{}", self.index));
        value.into_iter().chain(self.prepare.iter().chain(&self.save).map(|(name, _)| name.clone())).collect()
    }
}

/// A whole run. Immutable.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The diffusers class.
    pub class_name: &'static str,
    /// Timesteps of the whole schedule, also those before `begin_index`.
    pub timesteps: Vec<f64>,
    /// "int64" or "float32", as the reference holds them.
    pub timesteps_dtype: &'static str,
    /// Noise levels, one more than timesteps; empty where the class has none.
    pub sigmas: Vec<f64>,
    /// Factor on the initial noise.
    pub init_noise_sigma: f64,
    /// Model evaluations per step.
    pub order: usize,
    /// Index of the first row.
    pub begin_index: usize,
    /// True where a row draws noise.
    pub stochastic: bool,
    /// True where a row reads the model's unconditional answer, register `uncond`.
    pub unconditional: bool,
    /// One per model evaluation, from `begin_index` on.
    pub rows: Vec<Row>,
}

/// Marks rows that cannot be executed and adds when registers end.
pub(crate) fn seal(rows: &mut [Row]) {
    for row in rows.iter_mut() {
        if row.problem.is_none() && (!row.combinations().all(Lin::is_finite) || !row.input_scale.is_finite() || !row.t.is_finite()) {
            row.problem = Some(format!("a coefficient of step {} (timestep {}) is not finite with this configuration", row.index, row.t));
        }
    }
    let mut last_read: HashMap<String, usize> = HashMap::new();
    for (j, row) in rows.iter().enumerate() {
        for (name, _) in row.combinations().flat_map(Lin::terms) {
            last_read.insert(name.clone(), j);
        }
    }
    for i in 0..rows.len() {
        for register in rows[i].makes() {
            let last = last_read.get(&register).map_or(i, |&j| j.max(i));
            rows[last].drop.push(register);
        }
    }
}
