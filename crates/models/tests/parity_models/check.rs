use crate::folder::Call;
use candle_core::{DType, Tensor};
use nd_models::{ModelError, Result};
use std::collections::BTreeSet;

/// Tolerances of models/README.md, absolute, times the largest expected magnitude where that is above 1.
pub const FINAL: f64 = 1e-4;
pub const TEXT: f64 = 2e-5;

/// Comparisons of one call.
#[derive(Default)]
pub struct Check {
    worst: f64,
    compared: BTreeSet<String>,
}

impl Check {
    /// Compares an output with the stored one, when the call stored it.
    pub fn compare(&mut self, call: &Call, name: &str, actual: &Tensor, tolerance: f64) -> Result<()> {
        let Some(expected) = call.output(name) else { return Ok(()) };
        if actual.dims() != expected.dims() {
            return Err(ModelError::Shape {
                argument: name.into(),
                expected: format!("{:?}", expected.dims()),
                received: format!("{:?}", actual.dims()),
            });
        }
        let values = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let (actual, expected) = (values(actual)?, values(&expected)?);
        let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (a, e) in actual.iter().zip(&expected) {
            let ratio = (a - e).abs() / (tolerance * scale);
            self.worst = if ratio.is_nan() { f64::INFINITY } else { self.worst.max(ratio) };
        }
        self.compared.insert(name.into());
        if self.worst > 1.0 && std::env::var_os("PARITY_VERBOSE").is_some() {
            println!("{} {name}: {:.3}", call.name, self.worst);
        }
        Ok(())
    }

    /// The largest error over its tolerance. Fails when the pack stored an output that nobody compared.
    pub fn finish(self, call: &Call) -> Result<f64> {
        match call.output_names().into_iter().find(|name| !self.compared.contains(name)) {
            Some(name) => Err(ModelError::Weights(format!("output {name} was not compared"))),
            None => Ok(self.worst),
        }
    }
}
