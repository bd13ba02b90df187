use super::family_of_width;
use crate::lora::LoraFile;
use crate::single_file::{detect, left_out, part, shape_config, Part};
use crate::weights::Weights;
use serde_json::{json, Map, Value};

/// Keys whose presence tells what a file is that holds no part of a pipeline, first match wins.
const MARKS: [(&str, &str); 16] = [
    ("lora_", "lora"),
    (".lora", "lora"),
    (".hada_", "lora"),
    (".lokr_", "lora"),
    (".oft_blocks", "lora"),
    (".oft_diag", "lora"),
    (".a1.weight", "lora"),
    ("image_proj.", "ip-adapter"),
    ("motion_modules.", "motion-adapter"),
    ("adapter.body.", "t2i-adapter"),
    ("body.0.in_conv.", "t2i-adapter"),
    ("string_to_param.", "textual-inversion"),
    ("emb_params", "textual-inversion"),
    ("clip_l", "textual-inversion"),
    ("visual_projection.", "image-encoder"),
    ("vision_model.", "image-encoder"),
];

/// Kinds of lone parts.
fn kind_of_part(part: Part) -> &'static str {
    match part {
        Part::Unet | Part::UnetEma => "unet",
        Part::Vae => "vae",
        Part::TextEncoder | Part::TextEncoder2 => "text-encoder",
        Part::ControlNet => "controlnet",
        Part::TinyVae => "taesd",
        Part::SafetyChecker => "safety-checker",
        Part::MotionAdapter => "motion-adapter",
    }
}

/// What a weights file is: `kind`, `family` and, for parts of a pipeline, what `Detected` tells; for adapters their `lora` facts.
pub(super) fn facts(weights: &Weights) -> Map<String, Value> {
    let names = weights.names();
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    let mark = MARKS.iter().find(|(part, _)| has(part)).map(|(_, kind)| *kind);
    let mut found = Map::new();
    let detected = detect(weights).filter(|_| mark != Some("lora"));
    match (detected, mark) {
        (Some(detected), _) => {
            let kind = match detected.parts.as_slice() {
                [part] => kind_of_part(*part),
                _ => "checkpoint",
            };
            found.insert("kind".into(), kind.into());
            found.insert("configs".into(), configs(weights, &detected.parts));
            if detected.parts.contains(&Part::TinyVae) {
                let half = |side: &str| part(weights, Part::TinyVae).is_ok_and(|tiny| tiny.names().iter().any(|name| name.starts_with(side)));
                let halves: Vec<&str> = ["encoder", "decoder"].into_iter().filter(|side| half(&format!("{side}."))).collect();
                found.insert("halves".into(), json!(halves));
            }
            let parts: Vec<Part> = detected.parts.iter().copied().filter(|part| *part != Part::UnetEma).collect();
            found.insert("left_out".into(), json!(left_out(weights, &parts).unwrap_or_default()));
            if let Value::Object(more) = detected.to_json() {
                found.extend(more);
            }
        }
        (None, kind) => {
            let kind = kind.unwrap_or(if is_embedding(weights, &names) { "textual-inversion" } else { "unknown" });
            found.insert("kind".into(), kind.into());
            found.insert("family".into(), adapter_family(weights, &names).map_or(Value::Null, Value::from));
        }
    }
    if mark == Some("lora") {
        found.insert("lora".into(), LoraFile::from_weights(weights.clone()).map_or(Value::Null, |file| file.summary()));
    }
    found
}

/// What the shapes of each part's weights tell of its config.
fn configs(weights: &Weights, parts: &[Part]) -> Value {
    let told = parts.iter().map(|part| (part.name().to_string(), Value::Object(shape_config(weights, *part))));
    Value::Object(told.filter(|(_, config)| config.as_object().is_some_and(|keys| !keys.is_empty())).collect())
}

/// A learned embedding of diffusers: one tensor of rows as wide as a text encoder.
fn is_embedding(weights: &Weights, names: &[String]) -> bool {
    let width = |name: &String| weights.describe(name).and_then(|(_, shape)| if shape.len() <= 2 { shape.last().copied() } else { None });
    matches!(names, [name] if matches!(width(name), Some(768 | 1024 | 1280)))
}

/// The family of an adapter by the width of the text that it was trained on, else by what its trainer wrote down.
fn adapter_family(weights: &Weights, names: &[String]) -> Option<&'static str> {
    const DOWN: [&str; 6] = [
        "attn2_to_k.lora_down.weight",
        "attn2.to_k.lora_A.weight",
        "attn2.to_k.lora.down.weight",
        "attn2_to_k.hada_w1_b",
        "attn2_to_k.b2.weight",
        "string_to_param",
    ];
    let width = |name: &String| weights.describe(name).and_then(|(_, shape)| shape.last().copied());
    let told = names.iter().find(|name| DOWN.iter().any(|part| name.contains(part))).and_then(width);
    let learned = || if is_embedding(weights, names) { names.first().and_then(width) } else { None };
    told.or_else(learned).and_then(family_of_width).or_else(|| family_of_texts(weights, names))
}

/// The family by names of a second text encoder, or by the texts of kohya's trainer and of ModelSpec.
fn family_of_texts(weights: &Weights, names: &[String]) -> Option<&'static str> {
    let texts = weights.metadata();
    let text = |name: &str| texts.get(name).map(|text| text.to_lowercase()).unwrap_or_default();
    let base = format!("{} {}", text("ss_base_model_version"), text("modelspec.architecture"));
    let is_second = |name: &String| name.starts_with("lora_te2_") || name.starts_with("text_encoder_2.") || name == "clip_g";
    match () {
        () if base.contains("sdxl") || base.contains("-xl-") || names.iter().any(is_second) => Some("sdxl"),
        () if base.contains("sd_v2") || base.contains("diffusion-v2") || text("ss_v2") == "true" => Some("sd2"),
        () if base.contains("sd_v1") || base.contains("diffusion-v1") => Some("sd1"),
        () => None,
    }
}

/// Sums over all tensors; `dtype` is the one that most bytes have, `memory` what the weights need when loaded.
pub(super) fn totals(weights: &Weights) -> Map<String, Value> {
    let (mut tensors, mut parameters, mut bytes) = (0u64, 0u64, 0u64);
    let mut types = std::collections::BTreeMap::<String, u64>::new();
    for name in weights.names() {
        let (Some((element, shape)), Some((stored, size))) = (weights.describe(&name), weights.stored(&name)) else { continue };
        tensors += 1;
        bytes += size;
        *types.entry(stored).or_default() += size;
        if element.is_float() {
            parameters += shape.iter().product::<usize>() as u64;
        }
    }
    let dtype = types.iter().max_by_key(|(_, bytes)| **bytes).map(|(name, _)| name.clone());
    Map::from_iter([
        ("dtype".to_string(), json!(dtype)),
        ("types".to_string(), json!(types)),
        ("tensors".to_string(), json!(tensors)),
        ("parameters".to_string(), json!(parameters)),
        ("bytes".to_string(), json!(bytes)),
        ("memory".to_string(), memory(parameters)),
    ])
}

/// Bytes of loaded weights by the type that they are kept in.
pub(super) fn memory(parameters: u64) -> Value {
    json!({ "f32": parameters * 4, "f16": parameters * 2, "bf16": parameters * 2 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use candle_core::{DType, Device, Tensor};

    fn memory(names: &[(&str, &[usize])]) -> Weights {
        let tensor = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        Weights::from_tensors(names.iter().map(|(name, shape)| (name.to_string(), tensor(shape))).collect())
    }

    #[test]
    fn files_are_told_apart_by_their_keys() {
        let kind = |names: &[(&str, &[usize])]| {
            let found = facts(&memory(names));
            (found["kind"].as_str().unwrap().to_string(), found["family"].as_str().map(String::from))
        };
        let unet: [(&str, &[usize]); 2] =
            [("down_blocks.0.resnets.0.conv1.weight", &[1]), ("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[320, 768])];
        assert_eq!(kind(&unet), ("unet".into(), Some("sd1".into())));
        let lora: [(&str, &[usize]); 2] = [
            ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", &[4, 2048]),
            ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight", &[640, 4]),
        ];
        assert_eq!(kind(&lora), ("lora".into(), Some("sdxl".into())));
        assert_eq!(facts(&memory(&lora))["lora"]["ranks"], json!([4]));
        assert_eq!(kind(&[("string_to_param.*", &[2, 768])]), ("textual-inversion".into(), Some("sd1".into())));
        assert_eq!(kind(&[("<cat>", &[1024])]), ("textual-inversion".into(), Some("sd2".into())));
        assert_eq!(kind(&[("clip_l", &[2, 768]), ("clip_g", &[2, 1280])]), ("textual-inversion".into(), Some("sdxl".into())));
        assert_eq!(kind(&[("lora_te2_text_model_x.oft_blocks", &[4, 2, 2])]), ("lora".into(), Some("sdxl".into())));
        assert_eq!(kind(&[("x", &[1])]), ("unknown".into(), None));
    }
}
