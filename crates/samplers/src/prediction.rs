//! From the model's answer to the clean sample or the noise, by `prediction_type`.
//!
//! Legend: x = alpha x0 + sigma eps; v = alpha eps - sigma x0 (arXiv:2202.00512); output = eps, v or x0.

use crate::config::Config;
use crate::error::{Result, SamplerError};
use crate::lin::{reg, Lin};
use crate::plan::{Clip, Row};

/// The clean sample and the noise as combinations of `sample` and `output`.
pub(crate) struct Prediction {
    pub x0: Lin,
    pub eps: Lin,
}

pub(crate) const TYPES: &[&str] = &["epsilon", "sample", "v_prediction"];
pub(crate) const FLOW_TYPES: &[&str] = &["epsilon", "sample", "v_prediction", "flow_prediction"];
pub(crate) const NO_SAMPLE: &[&str] = &["epsilon", "v_prediction"];

/// Variance-preserving form: `alpha` and `sigma` with alpha^2 + sigma^2 = 1 (or flow).
pub(crate) fn preserving(kind: &str, alpha: f64, sigma: f64) -> Prediction {
    let (x, out) = (reg("sample"), reg("output"));
    match kind {
        "epsilon" => Prediction { x0: (x - out.clone() * sigma) * (1.0 / alpha), eps: out },
        "sample" => Prediction { eps: (x - out.clone() * alpha) * (1.0 / sigma), x0: out },
        "v_prediction" => Prediction { x0: x.clone() * alpha - out.clone() * sigma, eps: out * alpha + x * sigma },
        _ => {
            let x0 = x.clone() - out * sigma;
            Prediction { eps: (x - x0.clone() * alpha) * (1.0 / sigma), x0 }
        }
    }
}

/// Variance-exploding form (k-diffusion): x = x0 + sigma eps. Sets a row's `x0`; `level` is the sigma of a v prediction where it
/// differs. Products are rounded before the sum, as in the reference: the next difference of sample and x0 nearly cancels.
pub(crate) fn explode(row: &mut Row, kind: &str, sigma: f64, level: f64) {
    let (output, sample) = (format!("o{}", row.index), format!("c{}", row.index));
    let square = level * level + 1.0;
    match kind {
        "epsilon" => {
            row.prepare.push((output.clone(), reg("output") * sigma));
            row.x0 = reg("sample") - reg(output);
        }
        "sample" => row.x0 = reg("output"),
        _ => {
            row.prepare.push((output.clone(), reg("output") * (-level / square.sqrt())));
            row.prepare.push((sample.clone(), reg("sample") * (1.0 / square)));
            row.x0 = reg(output) + reg(sample);
        }
    }
}

/// Dynamic thresholding where the config asks for it.
pub(crate) fn threshold(config: &Config) -> Result<Option<Clip>> {
    if !config.flag("thresholding") {
        return Ok(None);
    }
    let ratio = config.number("dynamic_thresholding_ratio")?;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(SamplerError::config("dynamic_thresholding_ratio", "a number from 0 to 1", ratio.to_string()));
    }
    Ok(Some(Clip::Threshold { ratio, max: config.number("sample_max_value")? }))
}

/// Clamping where `clip_sample` is set.
pub(crate) fn clamp(config: &Config) -> Result<Option<Clip>> {
    match config.flag("clip_sample") {
        true => Ok(Some(Clip::Range { range: config.number("clip_sample_range")? })),
        false => Ok(None),
    }
}
