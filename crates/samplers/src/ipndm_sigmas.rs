//! iPNDM over noise levels (ComfyUI `sample_ipndm`; arXiv:2202.09778): Adams-Bashforth of order 4 on dx/dsigma = (x - x0) / sigma.
//!
//! The coefficients are those of equal steps, whatever the levels. The first three steps have lower orders, the last one ends on x0.
//! diffusers' IPNDMScheduler is the same method over times of its own, for models trained on those.

use crate::config::Config;
use crate::error::Result;
use crate::k_family;
use crate::k_sigmas::slope;
use crate::lin::reg;
use crate::plan::{PlanOptions, Row, Schedule};
use crate::registry::Entry;

pub(crate) const ENTRY: Entry = k_family::entry("SigmaIPNDMScheduler", rows);

/// Weights of the slopes, newest first, by order.
const WEIGHTS: [&[f64]; 4] = [&[1.0], &[1.5, -0.5], &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0], &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0]];

fn rows(config: &Config, options: &PlanOptions, schedule: &Schedule) -> Result<Vec<Row>> {
    k_family::rows(config, options, schedule, |row, from, to| {
        if to == 0.0 {
            return reg("x0");
        }
        let i = row.index;
        slope(row, from);
        let weights = WEIGHTS[(i - options.begin_index).min(3)];
        weights.iter().enumerate().fold(reg("sample"), |next, (k, weight)| next + reg(format!("e{}", i - k)) * ((to - from) * weight))
    })
}
