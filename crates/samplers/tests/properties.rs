//! Properties that hold for every sampler and every number of steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nd_samplers::{Lin, Plan, PlanOptions, Row, Scheduler, ENTRIES};
use proptest::prelude::*;
use serde_json::{json, Map, Value};
use std::collections::HashMap;

/// Published SD 1.x betas where the class has them.
fn config(class: &str, more: Value) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("_class_name".into(), json!(class));
    let defaults: Map<String, Value> = serde_json::from_str(nd_samplers::find(class).unwrap().defaults_json).unwrap();
    if defaults.contains_key("beta_schedule") {
        map.extend(json!({ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear" }).as_object().unwrap().clone());
    }
    if class == "PNDMScheduler" {
        map.insert("skip_prk_steps".into(), json!(true));
    }
    map.extend(more.as_object().unwrap().clone());
    map
}

fn plan(class: &str, steps: usize, more: Value) -> Plan {
    Scheduler::from_config(&config(class, more)).unwrap().plan(&PlanOptions::steps(steps)).unwrap()
}

/// Steps that a class accepts: distilled schedules stop at their own count.
fn most(class: &str) -> usize {
    if class == "LCMScheduler" || class == "TCDScheduler" {
        50
    } else {
        1000
    }
}

struct Machine(HashMap<String, f64>);

impl Machine {
    fn eval(&self, lin: &Lin) -> f64 {
        lin.terms().iter().map(|(name, c)| c * self.0[name.as_str()]).sum()
    }

    /// Runs a row in one dimension, without noise.
    fn run(&mut self, row: &Row, output: f64) -> f64 {
        self.0.insert("output".into(), output);
        self.0.insert("noise".into(), 0.0);
        let set = |machine: &mut Machine, name: &str, lin: &Lin| {
            let value = machine.eval(lin);
            machine.0.insert(name.into(), value);
        };
        if let Some(churn) = &row.churn {
            set(self, "sample", churn);
        }
        row.prepare.iter().for_each(|(name, lin)| set(self, name, lin));
        set(self, "x0", &row.x0);
        if let Some(value) = &row.value {
            set(self, &format!("m{}", row.index), value);
        }
        if let Some(correct) = &row.correct {
            set(self, "sample", correct);
        }
        row.save.iter().for_each(|(name, lin)| set(self, name, lin));
        self.eval(&row.next)
    }
}

/// Walks a plan with a model that always knows the clean value `clean`.
fn walk(plan: &Plan, clean: f64, start: f64) -> f64 {
    let mut machine = Machine(HashMap::from([("sample".into(), start)]));
    for row in &plan.rows {
        machine.0.insert("output".into(), 0.0);
        let next = machine.run(row, clean);
        machine.0.insert("sample".into(), next);
    }
    machine.0["sample"]
}

#[test]
fn one_step_to_zero_noise_returns_the_clean_sample() {
    for class in [
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
    ] {
        let more = json!({ "prediction_type": "sample" });
        let got = walk(&plan(class, 1, more), 0.25, 3.0);
        assert!((got - 0.25).abs() < 1e-5, "{class}: {got}");
    }
    let got = walk(&plan("DDIMScheduler", 1, json!({ "prediction_type": "sample", "clip_sample": false })), 0.25, 3.0);
    assert!((got - 0.25).abs() < 1e-12, "DDIM: {got}");
}

#[test]
fn a_model_that_knows_the_answer_gets_it_from_every_deterministic_sampler() {
    for class in
        ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler"]
    {
        for steps in [2, 5, 20, 50] {
            let got = walk(&plan(class, steps, json!({ "prediction_type": "sample" })), -0.5, 10.0);
            assert!((got + 0.5).abs() < 1e-4, "{class} in {steps}: {got}");
        }
    }
}

#[test]
fn coefficients_scale_with_the_sample() {
    for entry in ENTRIES {
        let plan = plan(entry.class, 4.min(most(entry.class)), json!({ "prediction_type": "epsilon" }));
        let run = |scale: f64| {
            let mut machine = Machine(HashMap::from([("sample".into(), scale)]));
            plan.rows.iter().for_each(|row| {
                let next = machine.run(row, 0.3 * scale);
                machine.0.insert("sample".into(), next);
            });
            machine.0["sample"]
        };
        let (one, seven) = (run(1.0), run(7.0));
        assert!((seven - 7.0 * one).abs() <= 1e-9 * seven.abs().max(1.0), "{}: {one} {seven}", entry.class);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_plan_is_finite(steps in 1usize..=1000, which in 0..ENTRIES.len(), trailing in any::<bool>()) {
        let class = ENTRIES[which].class;
        let spacing = if trailing && config(class, json!({})).contains_key("beta_schedule") { "trailing" } else { "leading" };
        let plan = plan(class, steps.min(most(class)), json!({ "timestep_spacing": spacing }));
        for row in &plan.rows {
            prop_assert!(row.problem.is_none(), "{} in {steps}: {:?}", class, row.problem);
        }
        prop_assert!(plan.timesteps.iter().chain(&plan.sigmas).all(|v| v.is_finite()));
        prop_assert!(plan.init_noise_sigma.is_finite() && plan.init_noise_sigma >= 1.0);
    }

    #[test]
    fn a_later_start_never_reads_what_it_did_not_make(steps in 4usize..60, share in 0.0f64..1.0, which in 0..ENTRIES.len()) {
        let class = ENTRIES[which].class;
        let steps = steps.min(most(class));
        let scheduler = Scheduler::from_config(&config(class, json!({}))).unwrap();
        let order = ENTRIES[which].evaluations;
        let begin = (steps as f64 * share) as usize * order;
        let options = PlanOptions { begin_index: begin, ..PlanOptions::steps(steps) };
        let Ok(plan) = scheduler.plan(&options) else { return Ok(()) };
        let mut machine = Machine(HashMap::from([("sample".into(), 1.0)]));
        for row in &plan.rows {
            let next = machine.run(row, 0.1);
            prop_assert!(next.is_finite());
            machine.0.insert("sample".into(), next);
            row.drop.iter().for_each(|name| {
                machine.0.remove(name);
            });
        }
    }

    #[test]
    fn wrong_text_never_panics(config in "\\PC{0,60}", options in "\\PC{0,60}") {
        let _ = nd_samplers::plan_json(&config, &options);
        let _ = nd_samplers::config_json(&config);
        let _ = nd_samplers::noise_json(&config, &options);
    }

    #[test]
    fn wrong_values_are_errors_not_panics(key in 0usize..60, value in prop_oneof![
        Just(json!(null)), Just(json!(-1)), Just(json!(0)), Just(json!(1e300)), Just(json!("nonsense")), Just(json!([])), Just(json!({})), Just(json!(true)), Just(json!(2.5)),
    ], which in 0..ENTRIES.len()) {
        let class = ENTRIES[which].class;
        let defaults: Map<String, Value> = serde_json::from_str(ENTRIES[which].defaults_json).unwrap();
        let name = defaults.keys().nth(key % defaults.len()).unwrap().clone();
        let made = Scheduler::from_config(&config(class, json!({ name: value }))).and_then(|s| s.plan(&PlanOptions::steps(5)));
        if let Err(e) = made {
            prop_assert!(e.to_string().starts_with("Expected "), "{e}");
        }
    }
}

#[test]
fn errors_name_key_value_and_the_nearest_class() {
    let error = |config: Value| Scheduler::from_config(config.as_object().unwrap()).and_then(|s| s.plan(&PlanOptions::steps(3))).unwrap_err();
    let spacing = error(json!({ "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "sideways" }));
    assert_eq!(spacing.code(), "ERR_CONFIG");
    assert_eq!(spacing.to_string(), "Expected one of linspace, leading, trailing for timestep_spacing but received \"sideways\"");
    let class = error(json!({ "_class_name": "EulerDiscretScheduler" }));
    assert!(class.to_string().contains("nearest: EulerDiscreteScheduler"), "{class}");
    let zero = Scheduler::from_config(&config("DDIMScheduler", json!({}))).unwrap().plan(&PlanOptions::steps(0)).unwrap_err();
    assert_eq!(zero.code(), "ERR_INVALID_ARGUMENT");
}

/// Error of the final sample on data N(0, 0.5^2), whose probability flow is known: x(s) = x(S) sqrt((0.25 + s^2) / (0.25 + S^2)).
fn gaussian_error(class: &str, steps: usize) -> f64 {
    let plan = plan(class, steps, json!({ "use_karras_sigmas": true, "prediction_type": "sample" }));
    let variance = 0.25;
    let begin = plan.sigmas[0];
    let start = (variance + begin * begin).sqrt();
    let mut machine = Machine(HashMap::from([("sample".into(), start)]));
    let mut last = begin;
    for row in plan.rows.iter().take_while(|row| plan.sigmas[row.index + 1] > 0.0) {
        let x = machine.0["sample"];
        let next = machine.run(row, x * variance / (variance + row.sigma * row.sigma));
        machine.0.insert("sample".into(), next);
        last = plan.sigmas[row.index + 1];
    }
    (machine.0["sample"] - (variance + last * last).sqrt()).abs()
}

#[test]
fn deterministic_samplers_converge_with_their_order() {
    let cases = [("EulerDiscreteScheduler", 0.8), ("HeunDiscreteScheduler", 1.7), ("RESMultistepScheduler", 1.5), ("LMSDiscreteScheduler", 1.0)];
    for (class, least) in cases {
        let (coarse, fine) = (gaussian_error(class, 40), gaussian_error(class, 160));
        let slope = (coarse / fine).log2() / 2.0;
        println!("{class}: error {coarse:.2e} in 40 steps, {fine:.2e} in 160, order {slope:.2}");
        assert!(slope > least, "{class}: order {slope:.2}");
    }
}
