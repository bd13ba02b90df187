//! Convergence on a model whose answer is known: data N(0, v) with v = 1/4, whose posterior mean is linear in the sample.
//!
//! Deterministic samplers follow the probability flow x(s) = x(S) sqrt((v + s^2) / (v + S^2)); the error of the sample at the last positive
//! noise level falls with the order of the method. Stochastic ones keep the variance v + s^2; a plan is linear, so its final variance is
//! computed exactly from one run per draw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod machine;

use machine::{config, Machine};
use nd_samplers::{find, Noise, NoiseRule, Plan, PlanOptions, Scheduler};
use serde_json::{json, Value};

const VARIANCE: f64 = 0.25;

/// Deviation of samples at a noise level, in the class's own scale.
fn deviation(plan: &Plan, sigma: f64) -> f64 {
    (VARIANCE + sigma * sigma).sqrt() * scale(plan, sigma)
}

/// Size of the clean part of a sample: 1 where the variance explodes, alpha where it is preserved.
fn scale(plan: &Plan, sigma: f64) -> f64 {
    match find(plan.class_name).unwrap().noise {
        NoiseRule::Exploding => 1.0,
        _ => 1.0 / (1.0 + sigma * sigma).sqrt(),
    }
}

/// Rows up to the last positive level, and that level.
fn rows(plan: &Plan) -> (usize, f64) {
    match plan.sigmas.last() {
        Some(&last) if last > 0.0 => (plan.rows.len(), last),
        _ => (plan.rows.len() - 1, plan.rows[plan.rows.len() - 1].sigma),
    }
}

/// The sample at the last positive level, from `start` and a drawn number for each row.
fn walk(plan: &Plan, start: f64, noise: impl Fn(usize) -> f64) -> f64 {
    let mut machine = Machine::start(start);
    let (count, _) = rows(plan);
    for (i, row) in plan.rows[..count].iter().enumerate() {
        let x = machine.sample() / scale(plan, row.sigma);
        let clean = x * VARIANCE / (VARIANCE + row.sigma * row.sigma);
        machine.run(row, (x - clean) / row.sigma, noise(i));
    }
    machine.sample()
}

fn made(class: &str, steps: usize, more: &Value, eta: Option<f64>) -> Plan {
    let options = PlanOptions { eta, ..PlanOptions::steps(steps) };
    Scheduler::from_config(&config(class, more.clone())).unwrap().plan(&options).unwrap()
}

/// Relative error of the deterministic sample.
fn error(plan: &Plan) -> f64 {
    let (_, last) = rows(plan);
    let got = walk(plan, deviation(plan, plan.rows[0].sigma), |_| 0.0);
    (got / deviation(plan, last) - 1.0).abs()
}

/// Relative error of the deviation of stochastic samples; draws of different rows are independent.
fn spread_error(plan: &Plan) -> f64 {
    let (count, last) = rows(plan);
    let start = walk(plan, deviation(plan, plan.rows[0].sigma), |_| 0.0).powi(2);
    let draws = (0..count).filter(|&i| plan.rows[i].noise.is_some());
    let noise: f64 = draws.map(|i| walk(plan, 0.0, |row| if row == i { 1.0 } else { 0.0 }).powi(2)).sum();
    ((start + noise).sqrt() / deviation(plan, last) - 1.0).abs()
}

/// Prints the errors and their slope over doublings; gives a sentence where it is too small.
fn check(name: &str, least: f64, error: impl Fn(usize) -> f64) -> Option<String> {
    let steps = [20, 40, 80, 160];
    let errors = steps.map(&error);
    let slope = (errors[1] / errors[3]).log2() / 2.0;
    let list: Vec<String> = steps.iter().zip(errors).map(|(n, e)| format!("{n}: {e:.1e}")).collect();
    println!("{name}: {}; order {slope:.2}", list.join(", "));
    (slope.is_nan() || slope < least).then(|| format!("{name}: order {slope:.2}"))
}

#[test]
fn deterministic_samplers_converge_with_their_order() {
    let karras = json!({ "use_karras_sigmas": true });
    let ends = json!({ "use_karras_sigmas": true, "final_sigmas_type": "sigma_min" });
    let third = json!({ "use_karras_sigmas": true, "final_sigmas_type": "sigma_min", "solver_order": 3 });
    let no_eta = json!({ "use_karras_sigmas": true, "eta": 0.0 });
    let plain = json!({});
    let cases: [(&str, &Value, Option<f64>, f64); 24] = [
        ("DDIMScheduler", &plain, None, 0.9),
        ("PNDMScheduler", &plain, None, 0.9),
        ("EulerDiscreteScheduler", &karras, None, 0.9),
        ("EulerCFGPlusPlusScheduler", &karras, None, 0.9),
        ("EulerAncestralCFGPlusPlusScheduler", &karras, Some(0.0), 0.9),
        ("GradientEstimationEulerScheduler", &karras, None, 0.9),
        ("HeunDiscreteScheduler", &karras, None, 1.9),
        ("KDPM2DiscreteScheduler", &karras, None, 1.9),
        ("LMSDiscreteScheduler", &karras, None, 3.5),
        ("SigmaIPNDMScheduler", &karras, None, 1.9),
        ("DPMSolverMultistepScheduler", &ends, None, 1.9),
        // The second derivative in the reference's third-order multistep formula (also in 3M SDE) is half of what order 3 needs.
        ("DPMSolverMultistepScheduler", &third, None, 1.8),
        ("DPMSolverSinglestepScheduler", &ends, None, 1.9),
        ("DPMSolverSinglestepScheduler", &third, None, 2.9),
        ("UniPCMultistepScheduler", &ends, None, 2.9),
        ("UniPCMultistepScheduler", &third, None, 3.8),
        ("DEISMultistepScheduler", &karras, None, 1.9),
        ("DPMPlusPlus2SAncestralScheduler", &no_eta, None, 1.9),
        ("DPMPlusPlus3MSDEScheduler", &karras, Some(0.0), 1.8),
        ("RESMultistepScheduler", &karras, None, 1.9),
        ("RESMultistepAncestralScheduler", &karras, Some(0.0), 1.9),
        ("DPMFastScheduler", &plain, None, 1.9),
        ("DPMAdaptiveScheduler", &plain, None, 2.9),
        ("DPMAdaptiveScheduler", &json!({ "solver_order": 2 }), None, 1.9),
    ];
    let wrong = cases.iter().filter_map(|(class, more, eta, least)| {
        let order = more.get("solver_order").map_or(String::new(), |order| format!(" of solver_order {order}"));
        check(&format!("{class}{order}"), *least, |steps| error(&made(class, steps, more, *eta)))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn stochastic_samplers_keep_the_spread_of_the_data() {
    let karras = json!({ "sigma_spacing": "karras" });
    let sde = json!({ "algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": true });
    let cases: [(&str, &Value, f64); 9] = [
        ("DDPMScheduler", &json!({ "clip_sample": false }), 0.7),
        ("EulerAncestralDiscreteScheduler", &karras, 0.9),
        ("EulerAncestralCFGPlusPlusScheduler", &karras, 0.9),
        ("KDPM2AncestralDiscreteScheduler", &karras, 1.9),
        ("DPMPlusPlus2SAncestralScheduler", &karras, 1.9),
        ("DPMPlusPlus3MSDEScheduler", &karras, 1.9),
        ("RESMultistepAncestralScheduler", &karras, 1.9),
        ("ERSDEScheduler", &karras, 1.6),
        ("DPMSolverMultistepScheduler", &sde, 1.9),
    ];
    let wrong = cases.iter().filter_map(|(class, more, least)| check(class, *least, |steps| spread_error(&made(class, steps, more, None))));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn brownian_draws_of_one_step_share_their_path() {
    let plan = made("DPMSolverSDEScheduler", 8, &json!({ "sigma_spacing": "karras" }), None);
    let ends = |i: usize| match &plan.rows[i].noise {
        Some(Noise::Brownian { from, to, .. }) => (*from, *to),
        other => panic!("{other:?}"),
    };
    let ((from, middle), (again, to)) = (ends(0), ends(1));
    assert_eq!(from, again);
    assert!(from > middle && middle > to);
}
