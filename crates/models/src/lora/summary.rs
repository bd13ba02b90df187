use super::facts::trigger_words;
use super::group::LoraFile;
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};

impl LoraFile {
    /// What the file says of itself without a model: algorithms, layers by component, ranks, `alpha / rank`, trigger words. Reads headers and
    /// alphas only.
    pub fn summary(&self) -> Value {
        let (mut algorithms, mut layers) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
        let (mut ranks, mut scales) = (BTreeSet::new(), Vec::new());
        for group in &self.groups {
            let algorithm = if Self::is_dora(group) { "dora" } else { group.algorithm.name() };
            *algorithms.entry(algorithm).or_default() += 1;
            *layers.entry(group.place.as_ref().map_or("unknown", |(component, _)| component.name())).or_default() += 1;
            ranks.extend(self.rank(group));
            scales.extend(self.scale(group).ok());
        }
        scales.sort_by(f64::total_cmp);
        scales.dedup();
        let alphas: BTreeSet<String> = ranks.iter().flat_map(|rank| scales.iter().map(move |scale| (*rank as f64 * scale).to_string())).collect();
        json!({
            "algorithms": algorithms,
            "layers": layers,
            "ranks": ranks,
            "scales": scales,
            "alpha": if ranks.len() == 1 && scales.len() == 1 { alphas.first().cloned() } else { None },
            "triggerWords": trigger_words(&self.weights.metadata()),
            "embeddings": self.bundled_names(),
            "strangers": self.strangers.len(),
        })
    }
}
