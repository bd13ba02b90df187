//! Single files of whole pipelines (LDM, SGM) and of lone parts, seen as the components of a diffusers folder, and the way back.

mod controlnet_keys;
mod detect;
mod left_out;
mod part;
mod shape_config;
mod text_keys;
mod tiny_keys;
mod to_ldm;
mod unet_keys;
mod vae_keys;
mod view;

pub use detect::{detect, Detected};
pub use left_out::left_out;
pub use part::Part;
pub use shape_config::shape_config;
pub use to_ldm::{single_file, Piece};

use crate::error::{ModelError, Result};
use crate::weights::Weights;
use controlnet_keys::ControlNetShape;
use part::{spelling, Layout};
use std::collections::HashMap;
use unet_keys::UNetShape;
use view::{Recipe, View};

/// The weights of one component by their names in a diffusers folder, whatever the file calls them. Tensors are renamed, not copied.
/// Errors: `ModelError::Weights` if the file does not hold the part.
pub fn part(weights: &Weights, part: Part) -> Result<Weights> {
    let Some((prefix, layout)) = spelling(weights, part) else {
        let names = weights.names();
        let some = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let wanted = part.name();
        return Err(ModelError::Weights(format!(
            "Expected a {wanted} in {} but received {} other tensors: {some}, ...",
            weights.origin(),
            names.len()
        )));
    };
    match recipes(weights, part, (prefix, layout))? {
        Some(recipes) => Ok(Weights::new(View::new(weights.clone(), recipes)?)),
        None => Ok(weights.clone()),
    }
}

/// How each tensor of the part is made from those of the file; `None` where all of them are as they should be.
fn recipes(weights: &Weights, part: Part, (prefix, layout): (&str, Layout)) -> Result<Option<HashMap<String, Recipe>>> {
    let plain = prefix.is_empty() && matches!(layout, Layout::Diffusers | Layout::Transformers);
    if plain && part != Part::SafetyChecker {
        return Ok(None);
    }
    let names = weights.names();
    let keys = names.iter().filter_map(|name| name.strip_prefix(prefix));
    Ok(Some(match (part, layout) {
        (_, Layout::OpenClip) => open_clip(keys, prefix, part),
        (_, Layout::Diffusers) => renamed(keys, prefix, |key| Some(key.to_string())),
        (Part::SafetyChecker, _) => renamed(keys, prefix, vision_of_checker),
        (_, Layout::Transformers) => renamed(keys, prefix, |key| Some(text_keys::with_text_model(key))),
        (_, Layout::Numbered) => {
            let half = tiny_keys::half(keys.clone());
            renamed(keys, prefix, |key| tiny_keys::to_diffusers(key, half))
        }
        (_, Layout::AnimateDiff) => renamed(keys, prefix, motion_to_diffusers),
        (Part::ControlNet, _) => {
            let shape = ControlNetShape::of_ldm(keys.clone());
            renamed(keys, prefix, |key| shape.to_diffusers(key))
        }
        (Part::Vae, _) => vae(weights, keys.clone(), prefix),
        (Part::UnetEma, _) => averaged(weights, keys.clone(), prefix)?,
        _ => {
            let shape = UNetShape::of_ldm(keys.clone());
            renamed(keys, prefix, |key| shape.to_diffusers(key))
        }
    }))
}

/// The averages of a UNet's weights, which LDM names without dots. Source: diffusers single_file_utils.py `convert_ldm_unet_checkpoint`.
/// Errors: `ModelError::Weights` for a weight without an average.
fn averaged<'k>(weights: &Weights, keys: impl Iterator<Item = &'k str> + Clone, prefix: &str) -> Result<HashMap<String, Recipe>> {
    let shape = UNetShape::of_ldm(keys.clone());
    let mut found = HashMap::new();
    for key in keys {
        let Some(name) = shape.to_diffusers(key) else { continue };
        let full = format!("{prefix}{key}");
        let average = format!("model_ema.{}", full.strip_prefix("model.").unwrap_or(&full).replace('.', ""));
        if weights.describe(&average).is_none() {
            let origin = weights.origin();
            return Err(ModelError::Weights(format!(
                "Expected averaged weights (model_ema.*) in {origin} for extractEma but there is none for {full}"
            )));
        }
        found.insert(name, Recipe::Same(average));
    }
    Ok(found)
}

/// The name in diffusers of a key of AnimateDiff's motion modules; positions are computed, not stored.
/// Source: diffusers single_file_utils.py `convert_animatediff_checkpoint_to_diffusers`.
fn motion_to_diffusers(key: &str) -> Option<String> {
    const NAMES: [(&str, &str); 6] = [
        (".norms.0", ".norm1"),
        (".norms.1", ".norm2"),
        (".ff_norm", ".norm3"),
        (".attention_blocks.0", ".attn1"),
        (".attention_blocks.1", ".attn2"),
        (".temporal_transformer", ""),
    ];
    let is_position = key.contains("pos_encoder");
    (!is_position).then(|| NAMES.iter().fold(key.to_string(), |name, (theirs, ours)| name.replace(theirs, ours)))
}

fn renamed<'k>(keys: impl Iterator<Item = &'k str>, prefix: &str, rename: impl Fn(&str) -> Option<String>) -> HashMap<String, Recipe> {
    keys.filter_map(|key| Some((rename(key)?, Recipe::Same(format!("{prefix}{key}"))))).collect()
}

/// The image encoder inside a safety checker, by the names that it has alone.
fn vision_of_checker(key: &str) -> Option<String> {
    let is_threshold = key.starts_with("concept_embeds") || key.starts_with("special_care_embeds");
    (!is_threshold).then(|| key.strip_prefix("vision_model.").filter(|rest| rest.starts_with("vision_model.")).unwrap_or(key).to_string())
}

fn vae<'k>(weights: &Weights, keys: impl Iterator<Item = &'k str> + Clone, prefix: &str) -> HashMap<String, Recipe> {
    let levels = vae_keys::levels(keys.clone());
    let recipe = |key: &str| {
        let name = format!("{prefix}{key}");
        let shape = weights.describe(&name).map(|(_, shape)| shape);
        let recipe = match shape.as_deref() {
            Some(&[rows, columns, 1, 1]) if vae_keys::is_pointwise(&format!(".{key}")) => Recipe::Shaped(name, vec![rows, columns]),
            _ => Recipe::Same(name),
        };
        Some((vae_keys::to_diffusers(key, levels)?, recipe))
    };
    keys.filter_map(recipe).collect()
}

/// Stable Diffusion 2 reads the text from the layer before the last of 24, so that its folders have 23 and no projection.
const SD2_LAYERS: usize = 24;

fn open_clip<'k>(keys: impl Iterator<Item = &'k str> + Clone, prefix: &str, part: Part) -> HashMap<String, Recipe> {
    let layer = |key: &str| key.strip_prefix("transformer.resblocks.").and_then(unet_keys::number).map(|(layer, _)| layer);
    let layers = keys.clone().filter_map(layer).max().map_or(0, |last| last + 1);
    let is_left_out =
        |key: &str| part == Part::TextEncoder && (key == "text_projection" || layers == SD2_LAYERS && layer(key) == Some(SD2_LAYERS - 1));
    keys.filter(|key| !is_left_out(key)).flat_map(|key| text_keys::from_open_clip(prefix, key)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn memory(names: &[(&str, &[usize])]) -> Weights {
        let tensor = |shape: &[usize]| Tensor::arange(0f32, shape.iter().product::<usize>() as f32, &Device::Cpu).unwrap().reshape(shape).unwrap();
        Weights::from_tensors(names.iter().map(|(name, shape)| (name.to_string(), tensor(shape))).collect())
    }

    fn values(weights: &Weights, name: &str) -> Vec<f32> {
        weights.read(name, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn unet_names_go_there_and_back() {
        let keys = [
            "input_blocks.0.0.weight",
            "input_blocks.3.0.op.bias",
            "input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight",
            "input_blocks.11.0.in_layers.2.weight",
        ];
        let shape = UNetShape::of_ldm(keys.into_iter());
        let cases = [
            ("input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
            ("input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight", "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k.weight"),
            ("middle_block.2.skip_connection.weight", "mid_block.resnets.1.conv_shortcut.weight"),
            ("middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight"),
            ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            ("output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"),
            ("output_blocks.11.1.norm.weight", "up_blocks.3.attentions.2.norm.weight"),
            ("label_emb.0.2.bias", "add_embedding.linear_2.bias"),
        ];
        for (ldm, ours) in cases {
            assert_eq!(shape.to_diffusers(ldm).as_deref(), Some(ours));
        }
        let back = UNetShape::of_diffusers(
            ["down_blocks.0.resnets.1.norm1.weight", "up_blocks.1.attentions.0.norm.weight", "up_blocks.3.attentions.0.norm.weight"].into_iter(),
        );
        for (ldm, ours) in cases {
            assert_eq!(back.to_ldm(ours).as_deref(), Some(ldm));
        }
        assert_eq!(shape.to_diffusers("model_ema.decay"), None);
    }

    #[test]
    fn joined_projections_are_split_and_the_projection_is_turned() {
        let file = memory(&[
            ("conditioner.embedders.1.model.token_embedding.weight", &[4, 2]),
            ("conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight", &[6, 2]),
            ("conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias", &[6]),
            ("conditioner.embedders.1.model.text_projection", &[2, 3]),
            ("conditioner.embedders.1.model.logit_scale", &[]),
        ]);
        let found = part(&file, Part::TextEncoder2).unwrap();
        assert_eq!(values(&found, "text_model.encoder.layers.0.self_attn.k_proj.weight"), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(values(&found, "text_model.encoder.layers.0.self_attn.v_proj.bias"), [4.0, 5.0]);
        assert_eq!(found.describe("text_projection.weight").unwrap().1, [3, 2]);
        assert_eq!(values(&found, "text_projection.weight"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(found.describe("logit_scale").is_none());

        let other = Piece { part: Part::Vae, weights: memory(&[("quant_conv.weight", &[2, 2, 1, 1])]) };
        let whole = single_file(&[Piece { part: Part::TextEncoder2, weights: found }, other]).unwrap();
        for name in ["transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.0.attn.in_proj_bias", "text_projection"] {
            let back = format!("conditioner.embedders.0.model.{name}");
            assert_eq!(values(&whole, &back), values(&file, &format!("conditioner.embedders.1.model.{name}")), "{name}");
        }
    }

    #[test]
    fn attention_of_the_autoencoder_changes_its_rank_both_ways() {
        let file = memory(&[
            ("decoder.up.0.block.0.conv1.weight", &[2, 2, 3, 3]),
            ("decoder.mid.attn_1.q.weight", &[2, 2, 1, 1]),
            ("decoder.up.1.block.0.nin_shortcut.bias", &[2]),
        ]);
        let found = part(&file, Part::Vae).unwrap();
        assert_eq!(
            found.names(),
            [
                "decoder.mid_block.attentions.0.to_q.weight",
                "decoder.up_blocks.0.resnets.0.conv_shortcut.bias",
                "decoder.up_blocks.1.resnets.0.conv1.weight",
            ]
        );
        assert_eq!(found.describe("decoder.mid_block.attentions.0.to_q.weight").unwrap().1, [2, 2]);
        let back = single_file(&[Piece { part: Part::Vae, weights: found }]).unwrap();
        assert_eq!(back.names(), file.names());
        assert_eq!(back.describe("decoder.mid.attn_1.q.weight"), file.describe("decoder.mid.attn_1.q.weight"));
    }

    #[test]
    fn kinds_families_and_predictions_are_told_by_keys_and_shapes() {
        let unet = |inputs: usize, width: usize| {
            vec![
                ("model.diffusion_model.input_blocks.0.0.weight", vec![320, inputs, 3, 3]),
                ("model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight", vec![320, width]),
                ("model.diffusion_model.out.2.weight", vec![4, 320, 3, 3]),
            ]
        };
        let look = |names: Vec<(&str, Vec<usize>)>| {
            detect(&memory(&names.iter().map(|(name, shape)| (*name, shape.as_slice())).collect::<Vec<_>>())).unwrap()
        };
        let sd1 = look(unet(4, 768));
        assert_eq!((sd1.family, sd1.task, sd1.prediction_type, sd1.layout), (Some("sd1"), Some("text-to-image"), None, "ldm"));
        assert_eq!(look(unet(9, 768)).task, Some("inpainting"));
        assert_eq!(look(unet(8, 768)).task, Some("instruct-pix2pix"));
        assert_eq!(look(unet(4, 1280)).family, Some("sdxl-refiner"));
        let marked = look([unet(4, 2048), vec![("v_pred", vec![]), ("ztsnr", vec![])]].concat());
        assert_eq!((marked.family, marked.prediction_type, marked.zero_terminal_snr), (Some("sdxl"), Some("v_prediction"), true));
        let spread = |shape: usize| {
            look([unet(4, 1024), vec![("model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias", vec![shape])]].concat())
        };
        assert_eq!(spread(320).prediction_type, Some("v_prediction"));
        assert_eq!(spread(1).prediction_type, Some("epsilon"));
        let vae = detect(&memory(&[("decoder.up_blocks.0.resnets.0.conv1.weight", &[1])])).unwrap();
        assert_eq!((vae.parts, vae.layout), (vec![Part::Vae], "diffusers"));
        assert_eq!(detect(&memory(&[("x", &[1])])), None);
    }

    #[test]
    fn a_part_that_is_not_there_is_an_error_that_names_keys() {
        let error = part(&memory(&[("something.else", &[1])]), Part::Unet).err().unwrap();
        assert_eq!(error.code(), "ERR_WEIGHTS");
        assert!(error.to_string().contains("Expected a unet") && error.to_string().contains("something.else"), "{error}");
    }
}
