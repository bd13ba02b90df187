//! Linear combinations over named registers: the only arithmetic that a sampler does on tensors.

use serde::ser::{Serialize, SerializeMap, Serializer};
use std::ops::{Add, Mul, Neg, Sub};

/// `sum(coefficient * register)`. Registers: `sample` (what the row receives), `output` (the model's answer), `x0` (the
/// predicted clean sample after clipping), `noise`, `m<i>` (the converted output of row i) and registers saved by rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lin(Vec<(String, f64)>);

impl Lin {
    /// The terms in order; exact zeros are left out.
    pub fn terms(&self) -> &[(String, f64)] {
        &self.0
    }

    /// True where every coefficient is finite.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|(_, c)| c.is_finite())
    }

    /// True where `register` takes part.
    pub fn reads(&self, register: &str) -> bool {
        self.0.iter().any(|(name, _)| name == register)
    }
}

/// One register with coefficient 1.
pub(crate) fn reg(name: impl Into<String>) -> Lin {
    Lin(vec![(name.into(), 1.0)])
}

impl Add for Lin {
    type Output = Lin;
    fn add(mut self, other: Lin) -> Lin {
        for (name, c) in other.0 {
            match self.0.iter_mut().find(|(n, _)| *n == name) {
                Some(slot) => slot.1 += c,
                None => self.0.push((name, c)),
            }
        }
        self.0.retain(|(_, c)| *c != 0.0);
        self
    }
}

impl Neg for Lin {
    type Output = Lin;
    fn neg(self) -> Lin {
        self * -1.0
    }
}

impl Sub for Lin {
    type Output = Lin;
    fn sub(self, other: Lin) -> Lin {
        self + -other
    }
}

impl Mul<f64> for Lin {
    type Output = Lin;
    fn mul(mut self, factor: f64) -> Lin {
        self.0.iter_mut().for_each(|(_, c)| *c *= factor);
        self.0.retain(|(_, c)| *c != 0.0);
        self
    }
}

impl Serialize for Lin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, c) in &self.0 {
            map.serialize_entry(name, c)?;
        }
        map.end()
    }
}
