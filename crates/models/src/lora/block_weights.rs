use super::index::ModuleIndex;
use crate::error::{ModelError, Result};
use std::collections::BTreeMap;

/// How strongly an adapter acts on each layer of one component: one number, and others for parts of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    default: f64,
    /// By the start of a layer's name, such as `down_blocks.1` or `up_blocks.2.attentions.0`.
    parts: BTreeMap<String, f64>,
}

impl BlockWeights {
    /// The same weight everywhere.
    pub fn uniform(weight: f64) -> Self {
        Self { default: weight, parts: BTreeMap::new() }
    }

    /// `default`, except for layers whose names start with a name of `parts`; the longest such name counts. Errors: a number that is not finite.
    pub fn new(default: f64, parts: BTreeMap<String, f64>) -> Result<Self> {
        match std::iter::once(&default).chain(parts.values()).find(|weight| !weight.is_finite()) {
            Some(weight) => Err(ModelError::argument("weights", "finite numbers", weight)),
            None => Ok(Self { default, parts }),
        }
    }

    /// The weight of a layer.
    pub fn of(&self, module: &str) -> f64 {
        let mut start = module;
        loop {
            if let Some(weight) = self.parts.get(start) {
                return *weight;
            }
            match start.rfind('.') {
                Some(dot) => start = &start[..dot],
                None => return self.default,
            }
        }
    }

    /// Fails for a part that the model does not have.
    pub(super) fn check(&self, index: &ModuleIndex) -> Result<()> {
        match self.parts.keys().find(|part| !index.has(part)) {
            Some(part) => Err(ModelError::argument("weights", "blocks and layers of this model", part)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_longest_name_counts() {
        let parts = [("down_blocks", 0.5), ("down_blocks.1", 0.25), ("down_blocks.1.attentions.0", -2.0)];
        let weights = BlockWeights::new(1.0, parts.iter().map(|(name, weight)| (name.to_string(), *weight)).collect()).unwrap();
        assert_eq!(weights.of("down_blocks.0.resnets.0.conv1"), 0.5);
        assert_eq!(weights.of("down_blocks.1.attentions.1.proj_in"), 0.25);
        assert_eq!(weights.of("down_blocks.1.attentions.0.proj_in"), -2.0);
        assert_eq!(weights.of("down_blocks.11.resnets.0.conv1"), 0.5);
        assert_eq!(weights.of("mid_block.resnets.0.conv1"), 1.0);
        assert!(BlockWeights::new(f64::NAN, BTreeMap::new()).is_err());
    }
}
