//! Properties that hold for every sampler and every number of steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod machine;

use machine::{config, most, plan, Machine};
use nd_samplers::{Plan, PlanOptions, Scheduler, ENTRIES, SIGMA_SPACINGS};
use proptest::prelude::*;
use serde_json::{json, Map, Value};

/// Walks a plan with a model that always knows the clean value `clean`.
fn walk(plan: &Plan, clean: f64, start: f64) -> f64 {
    let mut machine = Machine::start(start);
    plan.rows.iter().for_each(|row| {
        machine.run(row, clean, 0.0);
    });
    machine.sample()
}

/// Classes whose last row ends on the clean prediction: those that go down to sigma = 0 and are no inversion.
fn ends_at_zero(class: &str) -> bool {
    let inverse = class.contains("Inverse");
    let above_zero = ["DPMFastScheduler", "DPMAdaptiveScheduler"].contains(&class);
    // PNDM's last step goes by alphas of its own (set_alpha_to_one is off), EDM classes predict through their preconditioning.
    let other = class == "PNDMScheduler" || class == "IPNDMScheduler" || class.starts_with("EDM");
    !(inverse || above_zero || other)
}

/// What makes a class end at zero and answer with the clean sample.
fn clean_config(class: &str) -> Value {
    let defaults: Map<String, Value> = serde_json::from_str(nd_samplers::find(class).unwrap().defaults_json).unwrap();
    let mut more = json!({ "prediction_type": "sample", "clip_sample": false, "set_alpha_to_one": true });
    if ["EulerAncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"].contains(&class) {
        more["prediction_type"] = json!("epsilon");
    }
    more.as_object_mut().unwrap().retain(|key, _| defaults.contains_key(key));
    more
}

#[test]
fn a_step_to_zero_noise_returns_the_clean_prediction() {
    for class in ENTRIES.iter().map(|e| e.class).filter(|class| ends_at_zero(class)) {
        let plan = plan(class, 3, clean_config(class));
        let mut machine = Machine::start(3.0);
        for row in &plan.rows {
            let sigma = row.sigma;
            let sample = machine.sample();
            let by_noise = clean_config(class)["prediction_type"] == "epsilon";
            let output = if by_noise { (sample - 0.25) / sigma } else { 0.25 };
            machine.run(row, output, 0.7);
        }
        // SA-Solver, DEIS and TCD end at the lowest training level: 0.03 of the noise is left.
        let left = match plan.sigmas.last() {
            Some(&last) if last > 0.0 => 0.2,
            _ if class == "TCDScheduler" => 0.2,
            // Its last beta, 4e-5, is 1 less alpha in f32 as in the reference: right to 6e-8 / 4e-5 of the answer of 0.25.
            _ if class == "UnCLIPScheduler" => 0.25 * 6e-8 / 4e-5,
            _ => 1e-6,
        };
        assert!((machine.sample() - 0.25).abs() < left, "{class}: {}", machine.sample());
    }
}

#[test]
fn a_model_that_knows_the_answer_gets_it_from_every_deterministic_sampler() {
    for class in [
        "EulerDiscreteScheduler",
        "EulerCFGPlusPlusScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
        "RESMultistepScheduler",
        "GradientEstimationEulerScheduler",
        "SigmaIPNDMScheduler",
    ] {
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
            let mut machine = Machine::start(scale);
            plan.rows.iter().for_each(|row| {
                machine.run(row, 0.3 * scale, 0.0);
            });
            machine.sample()
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
        let mut machine = Machine::start(1.0);
        for row in &plan.rows {
            prop_assert!(machine.run(row, 0.1, 0.5).is_finite());
        }
    }

    #[test]
    fn named_noise_levels_descend(steps in 1usize..=1000, which in 0..SIGMA_SPACINGS.len()) {
        let name = SIGMA_SPACINGS[which];
        let plan = plan("EulerDiscreteScheduler", steps, json!({ "sigma_spacing": name }));
        prop_assert!(plan.rows.iter().all(|row| row.problem.is_none()), "{name} in {steps}");
        // Small training levels repeat where a spacing rounds to whole timesteps or its ends meet.
        prop_assert!(plan.sigmas.windows(2).all(|w| w[1] <= w[0]), "{name} in {steps}: {:?}", plan.sigmas);
        prop_assert!(plan.sigmas.last() == Some(&0.0));
    }

    #[test]
    fn wrong_text_never_panics(config in "\\PC{0,60}", options in "\\PC{0,60}") {
        let _ = nd_samplers::plan_json(&config, &options);
        let _ = nd_samplers::config_json(&config);
        let _ = nd_samplers::noise_json(&config, &options);
    }

}

#[test]
fn wrong_values_are_errors_not_panics() {
    let values = [json!(null), json!(-1), json!(0), json!(1e300), json!(-1e300), json!("nonsense"), json!([]), json!({}), json!(true), json!(2.5)];
    for entry in ENTRIES {
        let defaults: Map<String, Value> = serde_json::from_str(entry.defaults_json).unwrap();
        for (name, value) in defaults.keys().flat_map(|name| values.iter().map(move |value| (name, value))) {
            let made = Scheduler::from_config(&config(entry.class, json!({ name: value }))).and_then(|s| s.plan(&PlanOptions::steps(5)));
            if let Err(e) = made {
                assert!(e.to_string().starts_with("Expected "), "{} with {name} {value}: {e}", entry.class);
            }
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
