use super::apply::{patched_bias, patched_weight, Patch};
use super::block_weights::BlockWeights;
use super::fit::fit;
use super::group::LoraFile;
use super::index::ModuleIndex;
use super::key::Part;
use super::place::Component;
use crate::error::{ModelError, Result};
use crate::load::{rebuild, Builder, LoadContext};
use crate::shared_layers::Origin;
use crate::weights::{Element, WeightSource, Weights};
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// An adapter and how strongly it acts.
pub struct Adapter {
    pub file: Arc<LoraFile>,
    pub weights: BlockWeights,
}

/// A view of weights in which some tensors are changed by adapters, each when it is read.
struct Patched {
    base: Weights,
    patches: HashMap<String, (Target, Vec<Patch>)>,
}

#[derive(Clone, Copy)]
enum Target {
    Weight,
    Bias,
}

impl WeightSource for Patched {
    fn origin(&self) -> String {
        self.base.origin()
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn want(&self, name: &str, shape: &[usize]) {
        self.base.want(name, shape)
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        let (element, shape) = self.base.describe(name)?;
        Some((if self.patches.contains_key(name) { Element::F32 } else { element }, shape))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let tensor = self.base.read(name, device)?;
        match self.patches.get(name) {
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
    let mut patches: HashMap<String, (Target, Vec<Patch>)> = HashMap::new();
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
                patches.entry(format!("{}{name}", module.key)).or_insert_with(|| (target, Vec::new())).1.push(patch);
            };
            if group.parts.keys().any(|part| !matches!(part, Part::DiffB | Part::Alpha)) {
                put("weight", Target::Weight);
            }
            if group.parts.contains_key(&Part::DiffB) && module.bias.is_some() {
                put("bias", Target::Bias);
            }
        }
    }
    let changed = patches.keys().cloned().collect();
    let weights = Weights::new(Patched { base: origin.scope.weights.clone(), patches });
    rebuild(origin, &weights, &changed, ctx, build)
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
