//! Every case of the reference pack's `schedulers/` folder: timesteps, noise levels and each intermediate sample.
//!
//! The pack is found at `PARITY_DIR`, else beside the repository, else in test/fixtures/parity; absent = skipped.
//! Random numbers are taken from the pack, so loops whose noise it does not store are compared up to their first draw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod compare;
mod pack;
mod run;
mod swaps;

use cases::{run_case, run_noise};
use nd_samplers::{alphas_cumprod, betas, Config};
use pack::{pack, tensors};
use serde_json::{json, Value};
use swaps::run_swap;

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
