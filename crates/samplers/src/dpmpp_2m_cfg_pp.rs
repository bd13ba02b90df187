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
use crate::registry::Entry;

pub(crate) const ENTRY: Entry = k_family::entry("DPMPlusPlus2MCFGPlusPlusScheduler", rows);

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    k_family::rows(config, options, schedule, |row, from, to| {
        if to == 0.0 {
            return reg("x0");
        }
        let i = row.index;
        row.value = Some(unprompted(config, from));
        let ratio = to / from;
        let next = reg("x0") + (reg("sample") - reg(format!("m{i}"))) * ratio;
        if i == options.begin_index {
            return next;
        }
        let r = (schedule.sigmas[i - 1] / from).ln() / (from / to).ln();
        next + (reg("x0") - reg(format!("m{}", i - 1))) * ((1.0 - ratio) / (2.0 * r))
    })
}
