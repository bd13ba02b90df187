use super::controlnet_keys::ControlNetShape;
use super::text_keys::{to_open_clip, with_text_model};
use super::unet_keys::UNetShape;
use super::vae_keys;
use super::view::{Recipe, View};
use super::Part;
use crate::error::{ModelError, Result};
use crate::weights::Weights;
use std::collections::HashMap;

/// A component of a pipeline on its way into a single file.
pub struct Piece {
    pub part: Part,
    /// Its weights by their names in a diffusers folder.
    pub weights: Weights,
}

/// What a component is called inside a single file depends on the others beside it.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    /// One text encoder of CLIP's names.
    Sd1,
    /// One text encoder, kept in OpenCLIP's names.
    Sd2,
    /// Two text encoders.
    Sdxl,
    /// The second text encoder alone.
    Refiner,
    /// No text encoder.
    Lone,
}

/// One checkpoint in LDM's (SD 1.x, 2.x) or SGM's (SDXL) names from the components of a pipeline, or from one alone, which then has no
/// prefix apart from a ControlNet's. Tensors are renamed; q, k and v of OpenCLIP's encoders are joined as they are read.
/// Errors: `ModelError::Weights` for keys that have no place in that layout, naming the first.
pub fn single_file(pieces: &[Piece]) -> Result<Weights> {
    let family = family(pieces);
    let views = pieces.iter().map(|piece| view(piece, family)).collect::<Result<Vec<_>>>()?;
    Weights::join(views, "a pipeline")
}

fn family(pieces: &[Piece]) -> Family {
    let has = |part| pieces.iter().find(|piece| piece.part == part);
    match (has(Part::TextEncoder), has(Part::TextEncoder2)) {
        _ if pieces.len() == 1 => Family::Lone,
        (Some(_), Some(_)) => Family::Sdxl,
        (None, Some(_)) => Family::Refiner,
        (Some(encoder), None) if width(&encoder.weights).is_some_and(|width| width >= 1024) => Family::Sd2,
        _ => Family::Sd1,
    }
}

/// Width of a text encoder: 768 for CLIP-L, 1024 for SD 2's OpenCLIP-H.
fn width(encoder: &Weights) -> Option<usize> {
    let table = |name: &str| encoder.describe(name).and_then(|(_, shape)| shape.last().copied());
    table("text_model.final_layer_norm.weight").or_else(|| table("final_layer_norm.weight"))
}

fn view(piece: &Piece, family: Family) -> Result<Weights> {
    let lone = family == Family::Lone;
    let names = piece.weights.names();
    let keys = names.iter().map(String::as_str);
    let recipes = match piece.part {
        Part::Unet | Part::UnetEma => {
            let shape = UNetShape::of_diffusers(keys.clone());
            place(keys, |key| shape.to_ldm(key), if lone { "" } else { "model.diffusion_model." })
        }
        Part::Vae => {
            let levels = vae_keys::levels(keys.clone());
            let recipes = place(keys, |key| vae_keys::to_ldm(key, levels), if lone { "" } else { "first_stage_model." });
            recipes.map(|recipes| recipes.into_iter().map(|(name, recipe)| pointwise(&piece.weights, name, recipe)).collect())
        }
        Part::ControlNet => {
            let shape = ControlNetShape::of_diffusers(keys.clone());
            place(keys, |key| shape.to_ldm(key), "control_model.")
        }
        Part::TextEncoder | Part::TextEncoder2 => text(keys, piece.part, family),
        Part::TinyVae | Part::SafetyChecker | Part::MotionAdapter => Err(format!("the {}", piece.part.name())),
    };
    let recipes = recipes.map_err(|key| {
        ModelError::Weights(format!("Expected weights that fit the layout of a single file but received {key} in {}", piece.weights.origin()))
    })?;
    Ok(Weights::new(View::new(piece.weights.clone(), recipes)?))
}

type Recipes = std::result::Result<HashMap<String, Recipe>, String>;

fn place<'k>(keys: impl Iterator<Item = &'k str>, rename: impl Fn(&str) -> Option<String>, prefix: &str) -> Recipes {
    keys.map(|key| match rename(key) {
        Some(name) => Ok((format!("{prefix}{name}"), Recipe::Same(key.to_string()))),
        None => Err(key.to_string()),
    })
    .collect()
}

/// LDM keeps the projections of the autoencoder's attention as 1x1 convolutions.
fn pointwise(weights: &Weights, name: String, recipe: Recipe) -> (String, Recipe) {
    let shaped = match &recipe {
        Recipe::Same(key) if vae_keys::is_pointwise(&format!(".{name}")) => match weights.describe(key).map(|(_, shape)| shape).as_deref() {
            Some(&[rows, columns]) => Some(Recipe::Shaped(key.clone(), vec![rows, columns, 1, 1])),
            _ => None,
        },
        _ => None,
    };
    (name, shaped.unwrap_or(recipe))
}

fn text<'k>(keys: impl Iterator<Item = &'k str>, part: Part, family: Family) -> Recipes {
    let prefix = match (family, part) {
        (Family::Lone, _) | (Family::Sd1, Part::TextEncoder2) => "",
        (Family::Sd1, _) => "cond_stage_model.transformer.",
        (Family::Sdxl, Part::TextEncoder) => "conditioner.embedders.0.transformer.",
        (Family::Sdxl, _) => "conditioner.embedders.1.model.",
        (Family::Refiner, _) => "conditioner.embedders.0.model.",
        (Family::Sd2, _) => "cond_stage_model.model.",
    };
    if family == Family::Lone || family == Family::Sd1 || (family == Family::Sdxl && part == Part::TextEncoder) {
        return place(keys, |key| Some(with_text_model(key)), prefix);
    }
    let is_derived = |key: &str| key.contains(".k_proj.") || key.contains(".v_proj.") || key.ends_with("position_ids");
    keys.filter(|key| !is_derived(key))
        .map(|key| to_open_clip(key).map(|(name, recipe)| (format!("{prefix}{name}"), recipe)).ok_or_else(|| key.to_string()))
        .collect()
}
