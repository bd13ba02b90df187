use super::apply::{patched_bias, patched_weight, products, Patch};
use super::block_weights::BlockWeights;
use super::fit::fit;
use super::group::LoraFile;
use super::index::ModuleIndex;
use super::key::Part;
use super::place::Component;
use crate::error::{ModelError, Result};
use crate::load::{rebuild, Builder, Changes, LoadContext};
use crate::shared_layers::Origin;
use candle_core::Tensor;
use nd_kernels::LowRank;
use std::collections::HashMap;
use std::sync::Arc;

/// An adapter and how strongly it acts.
pub struct Adapter {
    pub file: Arc<LoraFile>,
    pub weights: BlockWeights,
}

/// What adapters change, by checkpoint key.
#[derive(Default)]
struct Patches(HashMap<String, (Target, Vec<Patch>)>);

#[derive(Clone, Copy)]
enum Target {
    Weight,
    Bias,
}

impl Changes for Patches {
    fn touch(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn products(&self, key: &str) -> Result<Option<Vec<LowRank>>> {
        match self.0.get(key) {
            Some((Target::Weight, patches)) => products(patches),
            _ => Ok(None),
        }
    }

    fn apply(&self, key: &str, tensor: Tensor) -> Result<Tensor> {
        match self.0.get(key) {
            Some((Target::Weight, patches)) => patched_weight(&tensor, patches),
            Some((Target::Bias, patches)) => patched_bias(&tensor, patches),
            None => Ok(tensor),
        }
    }
}

/// Builds the model again with these adapters and no others; layers that they leave alone are shared. Also tells the number of changed values.
/// Errors: `ModelError::Weights` for tensors that do not fit, `ModelError::Argument` for a block that the model does not have, `ModelError::Cancelled`.
pub(crate) fn adapt<T>(
    origin: &Origin,
    (component, index): (Component, &ModuleIndex),
    adapters: &[Adapter],
    ctx: LoadContext,
    build: impl Fn(&Builder) -> Result<T>,
) -> Result<(T, u64)> {
    let mut patches = Patches::default();
    for Adapter { file, weights } in adapters {
        weights.check(index)?;
        for (at, group) in file.groups.iter().enumerate() {
            let place = group.place.as_ref().filter(|(named, _)| *named == component);
            let Some(module) = place.and_then(|(_, name)| index.find(name)) else { continue };
            fit(file, group, module).map_err(|what| misfit(file, &[what]))?;
            let strength = weights.of(&module.name);
            if strength == 0.0 {
                continue;
            }
            let mut put = |name: &str, target| {
                let patch = Patch { file: file.clone(), group: at, module: module.clone(), strength };
                patches.0.entry(format!("{}{name}", module.key)).or_insert_with(|| (target, Vec::new())).1.push(patch);
            };
            if group.parts.keys().any(|part| !matches!(part, Part::DiffB | Part::Alpha)) {
                put("weight", Target::Weight);
            }
            if group.parts.contains_key(&Part::DiffB) && module.bias.is_some() {
                put("bias", Target::Bias);
            }
        }
    }
    rebuild(origin, &patches, ctx, build)
}

/// The error for tensors whose shapes do not fit.
pub(super) fn misfit(file: &LoraFile, found: &[String]) -> ModelError {
    let named: Vec<&str> = found.iter().take(3).map(String::as_str).collect();
    let hint = "it may be for another family of models (SD 1.x, 2.x or SDXL)";
    ModelError::Weights(format!(
        "Expected an adapter that fits this model but received {}: {} of its layers do not: {}; {hint}",
        file.origin(),
        found.len(),
        named.join(", ")
    ))
}
