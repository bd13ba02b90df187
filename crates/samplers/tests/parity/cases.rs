//! One case of a class: its plan, every sample of its loop, its forward noising.

use crate::compare::{relative, share, timesteps, tolerance};
use crate::pack::{options, Tensors};
use crate::run::{model, Run};
use nd_samplers::{PlanOptions, Scheduler};
use serde_json::{json, Value};
use std::collections::HashMap;

pub fn run_case(case: &Value, ays: &Value, tensors: &Tensors) -> Result<f64, String> {
    let name = case["name"].as_str().unwrap();
    let tensor = |field: &str| tensors.get(&format!("{name}/{field}"));
    let refused = !case["error"].is_null();
    let mut given = case["given_config"].as_object().unwrap().clone();
    given.insert("_class_name".into(), case["class"].clone());
    let order = case["order"].as_u64().unwrap_or(1) as usize;
    let begin = case["t_start"].as_u64().unwrap_or(0) as usize * order;
    let planned = Scheduler::from_config(&given).and_then(|s| Ok((s.plan(&PlanOptions::parse(&options(case, ays, begin))?)?, s)));
    let (plan, scheduler) = match (planned, refused) {
        (Err(_), true) => return Ok(0.0),
        (Err(e), false) => return Err(e.to_string()),
        // A learned variance needs an answer of twice the channels, which whoever executes a row refuses to do without.
        (Ok((plan, _)), true) => {
            let is_refused = plan.rows.iter().any(|r| r.problem.is_some() || r.variance.is_some());
            return is_refused.then_some(0.0).ok_or_else(|| "not refused".into());
        }
        (Ok(pair), false) => pair,
    };
    for (key, want) in case["config"].as_object().unwrap() {
        let got = scheduler.config().values().get(key).unwrap_or(&Value::Null);
        let equal = got == want || got.as_f64().is_some_and(|g| want.as_f64().is_some_and(|w| (g - w).abs() <= 1e-7 * w.abs()));
        if !equal && key != "trained_betas" && key != "_class_name" {
            return Err(format!("config {key}: {got} instead of {want}"));
        }
    }
    if plan.order != order {
        return Err(format!("order {} instead of {order}", plan.order));
    }
    let mut worst = 0f64;
    if let Some(want) = tensor("timesteps") {
        timesteps(plan.class_name, &plan.timesteps, plan.timesteps_dtype, want)?;
    }
    if let Some(want) = tensor("sigmas") {
        worst = worst.max(relative(&plan.sigmas, want, 1e-6).map_err(|e| format!("sigmas: {e}"))?);
    }
    let init = case["init_noise_sigma"].as_f64().unwrap();
    worst = worst.max(relative(&[plan.init_noise_sigma], &[init], 1e-6).map_err(|e| format!("init_noise_sigma: {e}"))?);
    let tolerance = tolerance(case);
    let to_f32 = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<_>>();
    let latents = to_f32(tensor("latents").unwrap());
    let size = latents.len();
    let (samples, stop) = (tensor("samples").unwrap(), case["first_nonfinite_call"].as_u64().unwrap_or(u64::MAX) as usize);
    let calls: Vec<usize> = match case["sample_calls"].as_array() {
        Some(list) => list.iter().map(|v| v.as_u64().unwrap() as usize).collect(),
        None => (0..samples.len() / size).collect(),
    };
    if plan.rows.len() != case["model_calls"].as_u64().unwrap() as usize {
        return Err(format!("{} rows instead of {}", plan.rows.len(), case["model_calls"]));
    }
    let mut run = Run { registers: HashMap::from([("sample".into(), latents)]) };
    let mut draws = 0;
    for (call, row) in plan.rows.iter().enumerate() {
        if call >= stop {
            break;
        }
        if let Some(problem) = &row.problem {
            return Err(format!("call {call}: {problem}"));
        }
        let sample = run.registers["sample"].clone();
        let scaled: Vec<f32> = sample.iter().map(|v| (f64::from(*v) * row.input_scale) as f32).collect();
        if let (Some(want), true) = (tensor("scaled"), call < 3) {
            let s = share(&scaled, &want[call * size..(call + 1) * size], tolerance);
            worst = if s > 1.0 { return Err(format!("scaled {call}: {s:.3} of tolerance")) } else { worst.max(s) };
        }
        if row.noise.is_some() {
            let Some(noise) = tensor("step_noise").filter(|n| n.len() >= (draws + 1) * size) else { return Ok(worst) };
            run.registers.insert("noise".into(), to_f32(&noise[draws * size..(draws + 1) * size]));
            draws += 1;
        }
        let (next, clean) = run.step(row, model(&scaled, row.t));
        if let Some(at) = calls.iter().position(|c| *c == call) {
            let s = share(&next, &samples[at * size..(at + 1) * size], tolerance);
            worst = if s > 1.0 { return Err(format!("sample {call}: {s:.3} of tolerance")) } else { worst.max(s) };
        }
        if let Some(want) = tensor("pred_original") {
            let kept = want.len() / size;
            if let Some(at) = (call + kept).checked_sub(plan.rows.len()) {
                let s = share(&clean, &want[at * size..(at + 1) * size], tolerance);
                worst = if s > 1.0 { return Err(format!("pred_original {call}: {s:.3} of tolerance")) } else { worst.max(s) };
            }
        }
        run.registers.insert("sample".into(), next);
    }
    let kept = run.registers.keys().filter(|k| !matches!(k.as_str(), "sample" | "output" | "x0" | "noise")).count();
    if kept > 0 && stop == usize::MAX {
        return Err(format!("{kept} registers left over"));
    }
    Ok(worst)
}

pub fn run_noise(class: &str, case: &Value, tensors: &Tensors) -> Result<f64, String> {
    let name = case["name"].as_str().unwrap();
    let tensor = |field: &str| tensors.get(&format!("{name}/{field}"));
    let mut given = case["given_config"].as_object().unwrap().clone();
    given.insert("_class_name".into(), json!(class));
    let scheduler = Scheduler::from_config(&given).map_err(|e| e.to_string())?;
    let options = PlanOptions::steps(case["steps"].as_u64().unwrap() as usize);
    let coefficients = scheduler.noise(&options, tensor("timesteps").unwrap(), None).map_err(|e| e.to_string())?;
    let (x0, noise) = (tensor("x0").unwrap(), tensor("noise").unwrap());
    let size = x0.len() / 3;
    let mut worst = 0f64;
    for (field, list) in [("add_noise", coefficients.add_noise), ("get_velocity", coefficients.velocity)] {
        match (tensor(field), list) {
            (Some(want), Some(list)) => {
                let got: Vec<f32> = (0..x0.len()).map(|i| (list[i / size][0] * x0[i] + list[i / size][1] * noise[i]) as f32).collect();
                let s = share(&got, want, 2e-5);
                worst = if s > 1.0 { return Err(format!("{field}: {s:.3} of tolerance")) } else { worst.max(s) };
            }
            (None, None) => {}
            (want, got) => return Err(format!("{field}: reference {}, ours {}", want.is_some(), got.is_some())),
        }
    }
    Ok(worst)
}
