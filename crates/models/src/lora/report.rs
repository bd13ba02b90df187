use super::facts::trigger_words;
use super::fit::fit;
use super::group::LoraFile;
use super::index::ModuleIndex;
use super::key::Part;
use super::patched::misfit;
use super::place::Component;
use crate::error::{ModelError, Result};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys an error names.
const NAMED_KEYS: usize = 5;

/// What an adapter file holds, and how much of it finds a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoraReport {
    /// `lora`, `locon`, `loha`, `lokr`, `dora`, `ia3`, `glora`, `oft`, `boft` or `full`: the most telling of `algorithms`.
    pub algorithm: &'static str,
    /// Layers by algorithm.
    pub algorithms: BTreeMap<&'static str, usize>,
    /// Layers that are changed, by component.
    pub layers: BTreeMap<&'static str, usize>,
    /// Keys that found a layer.
    pub matched: usize,
    /// Keys that did not, sorted.
    pub unmatched: Vec<String>,
    /// Different ranks, ascending; empty for adapters without one.
    pub ranks: Vec<usize>,
    /// Different values of `alpha / rank`, ascending.
    pub scales: Vec<f64>,
    /// Words that the adapter was trained on.
    pub trigger_words: Vec<String>,
    /// Names of the textual inversions that came with it.
    pub embeddings: Vec<String>,
    /// Free texts of the file.
    pub metadata: BTreeMap<String, String>,
}

impl LoraReport {
    /// The report as JSON, in camelCase.
    pub fn json(&self) -> Value {
        json!({
            "algorithm": self.algorithm,
            "algorithms": self.algorithms,
            "layers": self.layers,
            "matched": self.matched,
            "unmatched": self.unmatched,
            "rank": self.ranks.last(),
            "ranks": self.ranks,
            "scales": self.scales,
            "triggerWords": self.trigger_words,
            "embeddings": self.embeddings,
            "metadata": self.metadata,
        })
    }
}

/// Matches a file with the models of a pipeline, reading headers and alphas only.
/// Errors: `ModelError::Weights` when no key finds a layer, or when one that does has another shape.
pub fn report(file: &LoraFile, models: &[(Component, &ModuleIndex)]) -> Result<LoraReport> {
    let metadata = file.weights.metadata();
    let mut found = LoraReport {
        trigger_words: trigger_words(&metadata),
        metadata,
        unmatched: file.strangers.clone(),
        embeddings: file.bundled_names().into_iter().map(str::to_string).collect(),
        ..Default::default()
    };
    let (mut ranks, mut scales, mut misfits) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut is_dora = false;
    for group in &file.groups {
        let place = group.place.as_ref();
        let module = place.and_then(|(component, name)| {
            let (_, index) = models.iter().find(|(model, _)| model == component)?;
            Some((component, index.find(name)?))
        });
        let Some((component, module)) = module else {
            found.unmatched.extend(group.parts.values().cloned());
            continue;
        };
        misfits.extend(fit(file, group, module).err());
        let lost = group.parts.get(&Part::DiffB).filter(|_| module.bias.is_none());
        found.unmatched.extend(lost.cloned());
        found.matched += group.parts.len() - usize::from(lost.is_some());
        *found.layers.entry(component.name()).or_default() += 1;
        *found.algorithms.entry(group.algorithm.name()).or_default() += 1;
        is_dora |= LoraFile::is_dora(group);
        ranks.extend(file.rank(group));
        scales.push(file.scale(group)?);
    }
    if !misfits.is_empty() {
        return Err(misfit(file, &misfits));
    }
    found.unmatched.sort();
    if found.matched == 0 {
        return Err(nothing_matched(file, &found.unmatched));
    }
    scales.sort_by(f64::total_cmp);
    scales.dedup();
    let telling = ["loha", "lokr", "ia3", "glora", "oft", "boft", "full", "locon"].into_iter().find(|name| found.algorithms.contains_key(name));
    let low_rank = found.algorithms.contains_key("lora") || found.algorithms.contains_key("locon");
    found.algorithm = match telling {
        _ if is_dora => "dora",
        Some("full") | None if found.algorithms.contains_key("locon") => "locon",
        Some("full") | None if low_rank => "lora",
        Some(name) => name,
        None => "lora",
    };
    Ok(LoraReport { ranks: ranks.into_iter().collect(), scales, ..found })
}

fn nothing_matched(file: &LoraFile, keys: &[String]) -> ModelError {
    let named: Vec<&str> = keys.iter().take(NAMED_KEYS).map(String::as_str).collect();
    ModelError::Weights(format!(
        "Expected an adapter with layers of this model but received {}, none of whose {} keys has a place in it: {}",
        file.origin(),
        keys.len(),
        named.join(", ")
    ))
}
