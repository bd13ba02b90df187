use super::place::{flatten, Component};
use crate::config::read_json;
use crate::error::{ModelError, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// How many of a training set's tags are told as trigger words.
const TAGS: usize = 10;

/// Scales of layers without an alpha of their own, as PEFT keeps them beside the tensors.
#[derive(Default)]
pub(super) struct AlphaDefaults(HashMap<Component, Defaults>);

#[derive(Clone, Default)]
struct Defaults {
    alpha: Option<f64>,
    /// By flattened name.
    patterns: HashMap<String, f64>,
    /// Divides by the root of the rank.
    rank_stabilised: bool,
}

impl AlphaDefaults {
    /// From PEFT's `adapter_config.json`, where there is one.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| path.is_file()) else { return Ok(Self::default()) };
        let defaults = Defaults::from_json(&read_json(path)?, "");
        let components = [Component::Unet, Component::TextEncoder, Component::TextEncoder2];
        Ok(Self(components.into_iter().map(|component| (component, defaults.clone())).collect()))
    }

    /// With what diffusers writes into a file's metadata.
    pub fn with_metadata(mut self, metadata: &BTreeMap<String, String>) -> Result<Self> {
        let Some(text) = metadata.get("lora_adapter_metadata") else { return Ok(self) };
        let json: Value = serde_json::from_str(text)
            .map_err(|error| ModelError::Weights(format!("Expected JSON in lora_adapter_metadata but received {error}")))?;
        for component in [Component::Unet, Component::TextEncoder, Component::TextEncoder2] {
            self.0.insert(component, Defaults::from_json(&json, &format!("{}.", component.name())));
        }
        Ok(self)
    }

    /// `alpha / rank` of a layer, `None` where nothing is told; motion modules count as the UNet's.
    pub fn scale(&self, component: Component, name: &str, rank: usize) -> Option<f64> {
        let owner = if component == Component::MotionAdapter { Component::Unet } else { component };
        let defaults = self.0.get(&owner)?;
        let named = defaults.patterns.iter().find(|(pattern, _)| name == *pattern || name.ends_with(&format!("_{pattern}")));
        let alpha = named.map(|(_, alpha)| *alpha).or(defaults.alpha)?;
        let divisor = if defaults.rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
        Some(alpha / divisor)
    }
}

impl Defaults {
    fn from_json(json: &Value, start: &str) -> Self {
        let get = |name: &str| json.get(format!("{start}{name}"));
        let patterns = get("alpha_pattern").and_then(Value::as_object).into_iter().flatten();
        Self {
            alpha: get("lora_alpha").and_then(Value::as_f64),
            patterns: patterns.filter_map(|(name, alpha)| Some((flatten(name), alpha.as_f64()?))).collect(),
            rank_stabilised: get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

/// Words that the adapter was trained on: the phrase that its author names, else the most frequent tags of the training set.
pub(super) fn trigger_words(metadata: &BTreeMap<String, String>) -> Vec<String> {
    if let Some(phrase) = metadata.get("modelspec.trigger_phrase").map(|phrase| phrase.trim()).filter(|phrase| !phrase.is_empty()) {
        return phrase.split(',').map(|word| word.trim().to_string()).filter(|word| !word.is_empty()).collect();
    }
    let sets: Option<Value> = metadata.get("ss_tag_frequency").and_then(|text| serde_json::from_str(text).ok());
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for tags in sets.iter().filter_map(Value::as_object).flat_map(|sets| sets.values()).filter_map(Value::as_object) {
        for (tag, count) in tags {
            *counts.entry(tag.trim().to_string()).or_default() += count.as_f64().unwrap_or(0.0);
        }
    }
    let mut tags: Vec<(String, f64)> = counts.into_iter().filter(|(tag, _)| !tag.is_empty()).collect();
    tags.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    tags.into_iter().take(TAGS).map(|(tag, _)| tag).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn metadata(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_string(), value.to_string())])
    }

    #[test]
    fn trigger_words_are_the_authors_or_the_most_frequent() {
        assert_eq!(trigger_words(&metadata("modelspec.trigger_phrase", "sks dog, photo")), ["sks dog", "photo"]);
        let tags = r#"{"10_a": {"dog": 3, "sks": 9}, "5_b": {"dog": 4, " ": 99}}"#;
        assert_eq!(trigger_words(&metadata("ss_tag_frequency", tags)), ["sks", "dog"]);
        assert!(trigger_words(&metadata("ss_tag_frequency", "not json")).is_empty());
    }

    #[test]
    fn pefts_alphas_are_found_in_the_metadata() {
        let text = r#"{"unet.lora_alpha": 8, "unet.r": 4, "unet.alpha_pattern": {"mid_block.x.to_q": 2}, "unet.use_rslora": true}"#;
        let alphas = AlphaDefaults::default().with_metadata(&metadata("lora_adapter_metadata", text)).unwrap();
        assert_eq!(alphas.scale(Component::Unet, "down_blocks_0_y", 4), Some(4.0));
        assert_eq!(alphas.scale(Component::Unet, "mid_block_x_to_q", 4), Some(1.0));
        assert_eq!(alphas.scale(Component::TextEncoder, "a", 4), None);
        assert!(AlphaDefaults::default().with_metadata(&metadata("lora_adapter_metadata", "{")).is_err());
    }
}
