//! Every case of the reference pack's `schedulers/` folder: timesteps, noise levels and each intermediate sample.
//!
//! The pack is found at `PARITY_DIR`, else beside the repository, else in test/fixtures/parity; absent = skipped.
//! Random numbers are taken from the pack, so loops whose noise it does not store are compared up to their first draw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nd_samplers::{alphas_cumprod, betas, config_json, Clip, Config, Lin, PlanOptions, Row, Scheduler};
use safetensors::{Dtype, SafeTensors};
use serde_json::{json, Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;

fn pack() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var("PARITY_DIR").ok().map(PathBuf::from);
    let places = [named, Some(root.join("../shared/parity")), Some(root.join("test/fixtures/parity"))];
    places.into_iter().flatten().map(|p| p.join("schedulers")).find(|p| p.is_dir())
}

type Tensors = HashMap<String, Vec<f64>>;

fn tensors(path: PathBuf) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |view: safetensors::tensor::TensorView| -> Vec<f64> {
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            Dtype::F64 => data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => data.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("dtype {other:?}"),
        }
    };
    file.tensors().into_iter().map(|(name, view)| (name, read(view))).collect()
}

fn camel(key: &str) -> String {
    let mut out = String::new();
    for part in key.split('_') {
        let mut chars = part.chars();
        match (out.is_empty(), chars.next()) {
            (false, Some(c)) => out.extend(c.to_uppercase().chain(chars)),
            (_, Some(c)) => out.extend([c].into_iter().chain(chars)),
            _ => {}
        }
    }
    out
}

fn options(case: &Value, ays: &Value, begin: usize) -> String {
    let mut map = Map::new();
    for part in ["set_timesteps_kwargs", "step_kwargs"] {
        for (key, value) in case[part].as_object().into_iter().flatten() {
            let value = value.as_str().and_then(|s| s.strip_prefix("AYS:")).map_or(value, |name| &ays[name]);
            map.insert(camel(key), value.clone());
        }
    }
    if !case["steps"].is_null() {
        map.insert("numInferenceSteps".into(), case["steps"].clone());
    }
    map.insert("beginIndex".into(), json!(begin));
    Value::Object(map).to_string()
}

fn model(x: &[f32], t: f64) -> Vec<f32> {
    x.iter().map(|&x| f64::from(x)).map(|x| (0.7 * (1.3 * x + 0.01 * t).sin() + 0.1 * x) as f32).collect()
}

struct Run {
    registers: HashMap<String, Vec<f32>>,
}

impl Run {
    fn eval(&self, lin: &Lin) -> Vec<f32> {
        let n = self.registers["sample"].len();
        let mut sum = vec![0f64; n];
        for (name, c) in lin.terms() {
            self.registers[name].iter().zip(&mut sum).for_each(|(v, s)| *s += c * f64::from(*v));
        }
        sum.iter().map(|s| *s as f32).collect()
    }

    fn set(&mut self, name: &str, lin: &Lin) {
        let value = self.eval(lin);
        self.registers.insert(name.into(), value);
    }

    /// (next sample, clean prediction)
    fn step(&mut self, row: &Row, output: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        self.registers.insert("output".into(), output);
        if let Some(churn) = &row.churn {
            self.set("sample", churn);
        }
        for (name, lin) in &row.prepare {
            self.set(name, lin);
        }
        self.set("x0", &row.x0);
        if let Some(clip) = &row.clip {
            let x0 = self.registers.get_mut("x0").unwrap();
            let (limit, divisor) = match clip {
                Clip::Range { range } => (*range as f32, 1.0),
                Clip::Threshold { ratio, max } => {
                    let mut sorted: Vec<f32> = x0.iter().map(|v| v.abs()).collect();
                    sorted.sort_by(f32::total_cmp);
                    let rank = ratio * (sorted.len() - 1) as f64;
                    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
                    let s = (low + (high - low) * (rank - rank.floor()) as f32).max(1.0).min(*max as f32);
                    (s, s)
                }
            };
            x0.iter_mut().for_each(|v| *v = v.clamp(-limit, limit) / divisor);
        }
        if let Some(value) = &row.value {
            self.set(&format!("m{}", row.index), value);
        }
        if let Some(correct) = &row.correct {
            self.set("sample", correct);
        }
        for (name, lin) in &row.save {
            self.set(name, lin);
        }
        let next = self.eval(&row.next);
        let clean = row.denoised.as_ref().map_or_else(|| self.registers["x0"].clone(), |d| self.eval(d));
        row.drop.iter().for_each(|name| drop(self.registers.remove(name)));
        (next, clean)
    }
}

/// Largest difference as a share of the tolerance.
fn share(got: &[f32], want: &[f64], tolerance: f64) -> f64 {
    let scale = want.iter().fold(1f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    worst / (tolerance * scale)
}

fn relative(got: &[f64], want: &[f64], tolerance: f64) -> Result<f64, String> {
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
fn timesteps(class: &str, got: &[f64], dtype: &str, want: &[f64]) -> Result<f64, String> {
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

fn tolerance(case: &Value) -> f64 {
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

fn run_case(case: &Value, ays: &Value, tensors: &Tensors) -> Result<f64, String> {
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
        (Ok((plan, _)), true) => return plan.rows.iter().any(|r| r.problem.is_some()).then_some(0.0).ok_or_else(|| "not refused".into()),
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

fn run_noise(class: &str, case: &Value, tensors: &Tensors) -> Result<f64, String> {
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

#[derive(Default)]
struct Tally {
    cases: usize,
    passed: usize,
    uncovered: usize,
    failures: Vec<String>,
    worst: f64,
}

impl Tally {
    fn add(&mut self, name: String, result: Result<f64, String>) {
        self.cases += 1;
        match result {
            Ok(worst) => {
                self.passed += 1;
                self.worst = self.worst.max(worst);
            }
            Err(e) => self.failures.push(format!("{name}: {e}")),
        }
    }
}

fn strip(config: &Value) -> Map<String, Value> {
    config.as_object().unwrap().iter().filter(|(k, _)| !k.starts_with('_') || *k == "_class_name").map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn run_swap(published: &Value, row: &Value, file: &Tensors, steps: usize) -> Result<f64, String> {
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

#[test]
fn schedulers_of_the_pack() {
    let Some(folder) = pack() else {
        println!("skipped: no parity pack");
        return;
    };
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap() };
    let ays = read("ays.json");
    let mut tally = Tally::default();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.ends_with("Scheduler.json")) {
        let (content, stored) = (read(file), tensors(folder.join(file.replace(".json", ".safetensors"))));
        let class = content["class"].as_str().unwrap();
        let (cases, adds) = (content["cases"].as_array().unwrap(), content["add_noise"].as_array().unwrap());
        if nd_samplers::find(class).is_err() {
            tally.uncovered += cases.len() + adds.len();
            continue;
        }
        cases.iter().for_each(|c| tally.add(format!("{class} {}", c["name"]), run_case(c, &ays, &stored)));
        adds.iter().for_each(|c| tally.add(format!("{class} {}", c["name"]), run_noise(class, c, &stored)));
    }
    let stored = tensors(folder.join("betas.safetensors"));
    for row in read("betas.json").as_array().unwrap() {
        let mut given = row["config"].as_object().unwrap().clone();
        let class = if given["beta_schedule"] == "sigmoid" { "DDPMScheduler" } else { "DDIMScheduler" };
        given.insert("_class_name".into(), json!(class));
        let known = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"];
        let made = Config::new(&given).and_then(|c| Ok((betas(&c, &known)?, alphas_cumprod(&c, &known)?)));
        let key = row["key"].as_str().unwrap();
        let result = match made {
            Err(e) => (!row["error"].is_null()).then_some(0.0).ok_or_else(|| e.to_string()),
            Ok((b, a)) => {
                let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
                // Rescaling subtracts nearly equal f32 numbers, so the reference itself is known to a few units in the last place of 1.
                let floor = if given.get("rescale_betas_zero_snr") == Some(&json!(true)) { 10.0 } else { 1e-12 };
                let absolute =
                    |got: &[f64], want: &[f64]| got.iter().zip(want).map(|(g, w)| (g - w).abs() / 1e-6 / w.abs().max(floor)).fold(0.0, f64::max);
                let worst = absolute(&wide(&b), &stored[&format!("{key}/betas")]).max(absolute(&wide(&a), &stored[&format!("{key}/alphas_cumprod")]));
                (worst <= 1.0).then_some(worst).ok_or_else(|| format!("{worst} of tolerance"))
            }
        };
        tally.add(format!("betas {key}"), result);
    }
    let (swap, stored) = (read("swap.json"), tensors(folder.join("swap.safetensors")));
    let steps = swap["steps"].as_u64().unwrap() as usize;
    for row in swap["swaps"].as_array().unwrap() {
        if nd_samplers::find(row["to"].as_str().unwrap()).is_err() {
            tally.uncovered += 1;
            continue;
        }
        let result = run_swap(&swap["published"][row["checkpoint"].as_str().unwrap()], row, &stored, steps);
        tally.add(format!("swap {} {}", row["checkpoint"], row["to"]), result);
    }
    tally.failures.iter().for_each(|f| println!("failed {f}"));
    println!(
        "parity schedulers (core): {} cases, {} passed, {} failed, {} not covered, worst {:.2} of tolerance",
        tally.cases + tally.uncovered,
        tally.passed,
        tally.failures.len(),
        tally.uncovered,
        tally.worst
    );
    assert!(tally.failures.is_empty());
}
