//! LMS: linear multistep on dx/dsigma = (x - x0) / sigma (k-diffusion `sample_lms`).
//!
//! next = x + sum_k c_k d_k; c_k = integral of the Lagrange polynomial of node k over [sigma_i, sigma_{i+1}], exact here
//! by Gauss-Legendre quadrature (8 nodes integrate degree 15; the order is at most 8).
//! Source: diffusers scheduling_lms_discrete.py. The polynomial's order follows the step's index, also in a later start.

use crate::betas::{alphas_cumprod, COMMON};
use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::k_sigmas::{at_timesteps, finish, input_scale, respace, slope};
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::prediction::{explode, TYPES};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};
use crate::sigmas::to_f32;
use crate::timesteps::spaced;

pub(crate) const ENTRY: Entry = Entry {
    class: "LMSDiscreteScheduler",
    evaluations: 1,
    compatible: true,
    listed: true,
    defaults_json: r#"{
    "num_train_timesteps":1000, "beta_start":0.0001, "beta_end":0.02, "beta_schedule":"linear", "trained_betas":null,
    "use_karras_sigmas":false, "use_exponential_sigmas":false, "use_beta_sigmas":false, "prediction_type":"epsilon",
    "timestep_spacing":"linspace", "steps_offset":0
}"#,
    step_options: &["order"],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule,
    rows,
};

pub(crate) fn schedule(config: &Config, options: &PlanOptions) -> Result<Schedule> {
    let train = config.train_steps()?;
    let steps = options.steps_only(10_000)?;
    let bars = alphas_cumprod(config, COMMON)?;
    let timesteps = to_f32(&spaced(config, train, steps)?);
    let sigmas = at_timesteps(&bars, &timesteps);
    let (timesteps, mut sigmas) = respace(config, &bars, timesteps, sigmas, false)?;
    sigmas.push(0.0);
    let schedule = Schedule { timesteps: to_f32(&timesteps), sigmas: to_f32(&sigmas), order: 1, bars, steps, ..Schedule::default() };
    Ok(finish(config, schedule))
}

const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// Integral of the Lagrange polynomial of node `k` among `points` from `from` to `to`.
pub(crate) fn lagrange_integral(points: &[f64], k: usize, from: f64, to: f64) -> f64 {
    let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
    let value = |x: f64| -> f64 { points.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, p)| (x - p) / (points[k] - p)).product() };
    NODES.iter().map(|(node, weight)| weight * half * (value(middle - half * node) + value(middle + half * node))).sum()
}

pub(crate) fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let kind = config.choice("prediction_type", TYPES)?;
    let order = options.order.unwrap_or(4);
    if !(1..=8).contains(&order) {
        return Err(SamplerError::argument("order", "an integer from 1 to 8", order.to_string()));
    }
    let sigmas = &schedule.sigmas;
    let begin = options.begin_index;
    Ok((begin..schedule.timesteps.len())
        .map(|i| {
            let mut row = Row::at(schedule, i);
            row.sigma = sigmas[i];
            row.input_scale = input_scale(row.sigma);
            let sigma = row.sigma;
            explode(&mut row, kind, sigma, sigma);
            slope(&mut row, sigmas[i]);
            let points: Vec<f64> = (0..order.min(i + 1)).map(|k| sigmas[i - k]).collect();
            row.next = (0..points.len().min(i + 1 - begin))
                .fold(reg("sample"), |next, k| next + reg(format!("e{}", i - k)) * lagrange_integral(&points, k, sigmas[i], sigmas[i + 1]));
            row
        })
        .collect())
}
