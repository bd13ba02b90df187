//! How near values must be.

use serde_json::Value;

/// Largest difference as a share of the tolerance.
pub fn share(got: &[f32], want: &[f64], tolerance: f64) -> f64 {
    let scale = want.iter().fold(1f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    worst / (tolerance * scale)
}

pub fn relative(got: &[f64], want: &[f64], tolerance: f64) -> Result<f64, String> {
    if got.len() != want.len() {
        return Err(format!("{} values instead of {}", got.len(), want.len()));
    }
    let mut worst = 0f64;
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = if g == w { 0.0 } else { (g - w).abs() / (tolerance * w.abs().max(1e-12)) };
        if error.is_nan() || error > 1.0 {
            return Err(format!("value {i}: {g} instead of {w}"));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

/// Timesteps: exact where they are integers; else 1e-6 of at least 1. KDPM2 ancestral derives its midpoints from a difference
/// that cancels in f32, after a square root that torch does not round correctly: 0.02 of a step.
pub fn timesteps(class: &str, got: &[f64], dtype: &str, want: &[f64]) -> Result<f64, String> {
    let slack = if class == "KDPM2AncestralDiscreteScheduler" { 0.02 } else { 1e-6 };
    if got.len() != want.len() {
        return Err(format!("timesteps: {} instead of {}", got.len(), want.len()));
    }
    let off = |g: f64, w: f64| if dtype == "int64" { g != w } else { (g - w).abs() > slack + 1e-6 * w.abs() };
    match got.iter().zip(want).find(|(g, w)| !w.is_nan() && off(**g, **w)) {
        Some((g, w)) => Err(format!("timesteps: {g} instead of {w}")),
        None => Ok(0.0),
    }
}

pub fn tolerance(case: &Value) -> f64 {
    let config = &case["config"];
    // KDPM2 ancestral: see `timesteps`.
    let rough = case["class"] == "KDPM2AncestralDiscreteScheduler"
        || config["beta_schedule"] == "squaredcos_cap_v2"
        || config["rescale_betas_zero_snr"] == true
        || ["solver_order", "predictor_order", "corrector_order"].iter().any(|k| config[k].as_i64().unwrap_or(0) >= 3);
    match (rough, case["model_calls"].as_u64().unwrap_or(0)) {
        (true, _) => 1e-3,
        (_, calls) if calls <= 10 => 2e-5,
        _ => 1e-4,
    }
}
