//! Runs plans in one dimension.
#![allow(dead_code)] // Each test program uses a part.

use nd_samplers::{Lin, Plan, PlanOptions, Row, Scheduler};
use serde_json::{json, Map, Value};
use std::collections::HashMap;

/// Published SD 1.x betas where the class takes them.
pub fn config(class: &str, more: Value) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("_class_name".into(), json!(class));
    let defaults: Map<String, Value> = serde_json::from_str(nd_samplers::find(class).unwrap().defaults_json).unwrap();
    if defaults.get("beta_schedule").is_some_and(|own| own != "squaredcos_cap_v2") {
        map.extend(json!({ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear" }).as_object().unwrap().clone());
    }
    if class == "PNDMScheduler" {
        map.insert("skip_prk_steps".into(), json!(true));
    }
    map.extend(more.as_object().unwrap().clone());
    map
}

pub fn plan(class: &str, steps: usize, more: Value) -> Plan {
    Scheduler::from_config(&config(class, more)).unwrap().plan(&PlanOptions::steps(steps)).unwrap()
}

/// Steps that a class accepts: distilled schedules stop at their own count.
pub fn most(class: &str) -> usize {
    if class == "LCMScheduler" || class == "TCDScheduler" {
        50
    } else {
        1000
    }
}

/// The registers of a run.
pub struct Machine(pub HashMap<String, f64>);

impl Machine {
    pub fn start(sample: f64) -> Machine {
        Machine(HashMap::from([("sample".into(), sample)]))
    }

    pub fn sample(&self) -> f64 {
        self.0["sample"]
    }

    fn eval(&self, lin: &Lin) -> f64 {
        lin.terms().iter().map(|(name, c)| c * self.0[name.as_str()]).sum()
    }

    /// Runs a row on the model's answer, which is the unconditional one too, and a drawn number; keeps and gives the next sample.
    pub fn run(&mut self, row: &Row, output: f64, noise: f64) -> f64 {
        self.0.extend([("output".into(), output), ("uncond".into(), output), ("noise".into(), noise)]);
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
        let next = self.eval(&row.next);
        row.drop.iter().for_each(|name| {
            self.0.remove(name);
        });
        self.0.insert("sample".into(), next);
        next
    }
}
