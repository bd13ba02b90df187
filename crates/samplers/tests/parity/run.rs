//! Executes rows in f32, as a caller of the plan does.

use nd_samplers::{Clip, Lin, Row};
use std::collections::HashMap;

/// The analytic model of the pack's README.
pub fn model(x: &[f32], t: f64) -> Vec<f32> {
    x.iter().map(|&x| f64::from(x)).map(|x| (0.7 * (1.3 * x + 0.01 * t).sin() + 0.1 * x) as f32).collect()
}

pub struct Run {
    pub registers: HashMap<String, Vec<f32>>,
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
    pub fn step(&mut self, row: &Row, output: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
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
