//! DPM++ 2M CFG++ (ComfyUI `sample_dpmpp_2m_cfg_pp`): the second-order multistep with guidance that stays on the data's manifold.
//!
//! With the guided prediction x0, the unconditional one u0 and h = ln(s / s'), r = h_before / h:
//! next = x0 + e^-h (x - u0) + (1 - e^-h) / (2 r) (x0 - u0_before); the first and the last step leave the history out.

use crate::config::Config;
use crate::error::Result;
use crate::euler_cfg_pp::unprompted;
use crate::k_family;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::{Entry, NoiseRule, Stochastic, Velocity};

pub(crate) const ENTRY: Entry = Entry {
    class: "DPMPlusPlus2MCFGPlusPlusScheduler",
    evaluations: 1,
    compatible: true,
    listed: false,
    defaults_json: k_family::DEFAULTS,
    step_options: &[],
    noise: NoiseRule::Exploding,
    velocity: Velocity::None,
    stochastic: Stochastic::Never,
    check: |config| config.check_sigma_flags(),
    schedule: k_family::schedule,
    rows,
};

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    let sigmas = &schedule.sigmas;
    (options.begin_index..schedule.timesteps.len())
        .map(|i| {
            let mut row = k_family::row(config, schedule, i, sigmas[i])?;
            let (from, to) = (sigmas[i], sigmas[i + 1]);
            if to == 0.0 {
                row.next = reg("x0");
                return Ok(row);
            }
            row.value = Some(unprompted(config, from));
            let ratio = to / from;
            row.next = reg("x0") + (reg("sample") - reg(format!("m{i}"))) * ratio;
            if i > options.begin_index {
                let r = (sigmas[i - 1] / from).ln() / (from / to).ln();
                row.next = row.next + (reg("x0") - reg(format!("m{}", i - 1))) * ((1.0 - ratio) / (2.0 * r));
            }
            Ok(row)
        })
        .collect()
}
