//! A published config carried over to another class.

use crate::compare::{relative, timesteps};
use crate::pack::Tensors;
use nd_samplers::{config_json, PlanOptions, Scheduler};
use serde_json::{json, Map, Value};

fn strip(config: &Value) -> Map<String, Value> {
    config.as_object().unwrap().iter().filter(|(k, _)| !k.starts_with('_') || *k == "_class_name").map(|(k, v)| (k.clone(), v.clone())).collect()
}

pub fn run_swap(published: &Value, row: &Value, file: &Tensors, steps: usize) -> Result<f64, String> {
    let own: Value = serde_json::from_str(&config_json(&published.to_string()).map_err(|e| e.to_string())?).unwrap();
    let request = json!({ "target": row["to"], "source": own, "overrides": {} });
    let carried = config_json(&request.to_string());
    if !row["error"].is_null() {
        return carried.is_err().then_some(0.0).ok_or_else(|| "not refused".into());
    }
    let config: Value = serde_json::from_str(&carried.map_err(|e| e.to_string())?).unwrap();
    if strip(&config) != strip(&row["config"]) {
        return Err(format!("config {config}\n  instead of {}", row["config"]));
    }
    let plan = Scheduler::from_config(config.as_object().unwrap()).and_then(|s| s.plan(&PlanOptions::steps(steps))).map_err(|e| e.to_string())?;
    let base = format!("{}/{}", row["checkpoint"].as_str().unwrap(), row["to"].as_str().unwrap());
    let mut worst = timesteps(plan.class_name, &plan.timesteps, plan.timesteps_dtype, &file[&format!("{base}/timesteps")])?;
    if let Some(want) = file.get(&format!("{base}/sigmas")) {
        worst = worst.max(relative(&plan.sigmas, want, 1e-6).map_err(|e| format!("sigmas: {e}"))?);
    }
    let init = relative(&[plan.init_noise_sigma], &[row["init_noise_sigma"].as_f64().unwrap()], 1e-6).map_err(|e| format!("init: {e}"))?;
    Ok(worst.max(init))
}
