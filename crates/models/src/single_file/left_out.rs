use super::part::spelling;
use super::{recipes, Part, Recipe};
use crate::error::Result;
use crate::weights::Weights;
use std::collections::{BTreeMap, HashSet};

/// What keys that a folder has no place for are, by what their names contain; the first that fits counts.
const REASONS: [(&str, &str); 6] = [
    ("model_ema.", "averaged weights (EMA)"),
    (".transformer.resblocks.23.", "the last of 24 text layers, which Stable Diffusion 2 does not use"),
    ("text_projection", "a text projection that nothing uses"),
    ("logit_scale", "the scale of CLIP's training"),
    ("loss.", "what only training needs"),
    ("position_ids", "position numbers"),
];

/// Tensors of a file that its parts, as a folder has them, do not hold: how many, by what they are.
pub fn left_out(weights: &Weights, parts: &[Part]) -> Result<BTreeMap<&'static str, usize>> {
    let mut used: HashSet<String> = HashSet::new();
    for part in parts {
        let Some(spelled) = spelling(weights, *part) else { continue };
        let Some(recipes) = recipes(weights, *part, spelled)? else { return Ok(BTreeMap::new()) };
        for recipe in recipes.into_values() {
            match recipe {
                Recipe::Same(name) | Recipe::Shaped(name, _) | Recipe::Transposed(name) | Recipe::Rows { of: name, .. } => drop(used.insert(name)),
                Recipe::Joined(names) => used.extend(names),
            }
        }
    }
    let mut found = BTreeMap::new();
    for name in weights.names().iter().filter(|name| !used.contains(*name)) {
        let reason = REASONS.iter().find(|(part, _)| name.contains(part)).map_or("settings of the training", |(_, reason)| *reason);
        *found.entry(reason).or_default() += 1;
    }
    Ok(found)
}
