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

/// Marks of how a file was trained, which a folder has in its configs.
const TOLD: [&str; 5] = ["v_pred", "ztsnr", "edm_mean", "edm_std", "edm_vpred.sigma_max"];

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
    for name in weights.names().iter().filter(|name| !used.contains(*name) && !TOLD.contains(&name.as_str())) {
        let reason = REASONS.iter().find(|(part, _)| name.contains(part)).map_or("settings of the training", |(_, reason)| *reason);
        *found.entry(reason).or_default() += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn what_a_folder_keeps_is_not_told() {
        let names = ["model.diffusion_model.input_blocks.0.0.weight", "v_pred", "model_ema.decay", "betas", "cond_stage_model.logit_scale"];
        let tensor = |name: &str| (name.to_string(), Tensor::ones(1, DType::F32, &Device::Cpu).unwrap());
        let weights = Weights::from_tensors(names.into_iter().map(tensor).collect());
        let found = left_out(&weights, &[Part::Unet]).unwrap();
        let expected = [("averaged weights (EMA)", 1), ("settings of the training", 1), ("the scale of CLIP's training", 1)];
        assert_eq!(found, BTreeMap::from(expected));
    }
}
