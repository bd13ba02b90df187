use super::part::{spelling, Layout};
use super::Part;
use crate::weights::Weights;
use candle_core::{DType, Device};
use serde_json::{json, Value};

/// The normalisation whose spread tells Stable Diffusion 2's two kinds of prediction apart.
const SD2_NORM: &str = "output_blocks.11.1.transformer_blocks.0.norm1.bias";
const SD2_NORM_DIFFUSERS: &str = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
/// Above it the model predicts v. Source: ComfyUI supported_models.py `SD20.model_type`.
const SD2_SPREAD: f64 = 0.09;
/// Training steps that the published Stable Diffusion 2 files name. Source: diffusers convert_from_ckpt.py.
const STEPS_OF_V: [&str; 2] = ["110000", "140000"];
const STEPS_OF_EPSILON: [&str; 1] = ["875000"];

/// What a file of a diffusion model is, told from its keys, shapes and the texts beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    /// The components inside.
    pub parts: Vec<Part>,
    /// `ldm`, `diffusers`, `open_clip` or `numbered`: how the first part spells its keys.
    pub layout: &'static str,
    /// `sd1`, `sd2`, `sdxl` or `sdxl-refiner`.
    pub family: Option<&'static str>,
    /// What the UNet takes beside noise: `text-to-image`, `inpainting`, `instruct-pix2pix` or `depth`.
    pub task: Option<&'static str>,
    /// `epsilon` or `v_prediction`; none where nothing tells and the family's default holds.
    pub prediction_type: Option<&'static str>,
    /// Trained with a last step of pure noise.
    pub zero_terminal_snr: bool,
    /// Trained on continuous noise levels: `edm` (Playground 2.5) or `edm_vpred`.
    pub noise_levels: Option<&'static str>,
    /// Channels that the UNet takes and gives.
    pub channels: Option<(usize, usize)>,
}

impl Detected {
    /// The facts as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "parts": self.parts.iter().map(|part| part.name()).collect::<Vec<_>>(),
            "layout": self.layout,
            "family": self.family,
            "task": self.task,
            "prediction_type": self.prediction_type,
            "zero_terminal_snr": self.zero_terminal_snr,
            "noise_levels": self.noise_levels,
            "channels": self.channels.map(|(inputs, outputs)| [inputs, outputs]),
        })
    }
}

/// Looks at a file's names, shapes and texts, and for Stable Diffusion 2 at one small tensor; `None` if it holds no part of a diffusion model.
pub fn detect(weights: &Weights) -> Option<Detected> {
    let spelled = |part: &Part| spelling(weights, *part).map(|(prefix, layout)| (*part, prefix, layout));
    let mut found: Vec<(Part, &str, Layout)> = Part::ALL.iter().filter_map(spelled).collect();
    let has_controlnet = found.iter().any(|(part, ..)| *part == Part::ControlNet);
    // A ControlNet has the UNet's keys too; a lone text encoder could be either of two.
    found.retain(|(part, prefix, _)| !(has_controlnet && *part == Part::Unet && prefix.is_empty()));
    let wide = text_width(weights).is_some_and(|width| width == 1280);
    found.retain(|(part, prefix, _)| !prefix.is_empty() || !matches!((part, wide), (Part::TextEncoder, true) | (Part::TextEncoder2, false)));
    let names = weights.names();
    found.retain(|(part, ..)| *part != Part::UnetEma || names.iter().any(|name| name.starts_with("model_ema.diffusion_model")));
    // Only TAESD's own files have nothing but numbers.
    found.retain(|(part, _, layout)| *part != Part::TinyVae || *layout != Layout::Numbered || names.iter().all(|name| is_numbered(name)));
    let layout = found.iter().find(|(part, ..)| *part != Part::TinyVae).or(found.first())?.2.name();
    let unet = found.iter().find(|(part, ..)| matches!(part, Part::Unet | Part::ControlNet)).map(|(_, prefix, layout)| (*prefix, *layout));
    let family = unet.and_then(|(prefix, _)| unet_family(weights, prefix)).or_else(|| text_family(weights));
    let channels = unet.and_then(|(prefix, layout)| channels(weights, prefix, layout));
    let (noise_levels, zero_terminal_snr, marked) = markers(weights);
    Some(Detected {
        parts: found.iter().map(|(part, ..)| *part).collect(),
        layout,
        family,
        task: channels.map(|(inputs, _)| task(inputs)),
        prediction_type: marked.or_else(|| sd2_prediction(weights, unet, family, channels)),
        zero_terminal_snr,
        noise_levels,
        channels,
    })
}

fn is_numbered(name: &str) -> bool {
    let name = name.strip_prefix("taesd_").unwrap_or(name);
    let bare = name.strip_prefix("encoder.").or(name.strip_prefix("decoder.")).unwrap_or(name);
    bare.starts_with(|c: char| c.is_ascii_digit())
}

fn task(inputs: usize) -> &'static str {
    match inputs {
        9 => "inpainting",
        8 => "instruct-pix2pix",
        5 => "depth",
        _ => "text-to-image",
    }
}

fn channels(weights: &Weights, prefix: &str, layout: Layout) -> Option<(usize, usize)> {
    let (first, last) = if layout == Layout::Ldm { ("input_blocks.0.0.weight", "out.2.weight") } else { ("conv_in.weight", "conv_out.weight") };
    let size = |key: &str, at: usize| weights.describe(&format!("{prefix}{key}")).and_then(|(_, shape)| shape.get(at).copied());
    let inputs = size(first, 1)?;
    Some((inputs, size(last, 0).unwrap_or(inputs)))
}

/// The family by the width of the text that cross-attention reads; without any, by that of the embedding of text and sizes.
fn unet_family(weights: &Weights, prefix: &str) -> Option<&'static str> {
    let names = weights.names();
    let width = |key: &str| weights.describe(key).and_then(|(_, shape)| shape.last().copied());
    match names.iter().find(|name| name.starts_with(prefix) && name.ends_with("attn2.to_k.weight")) {
        Some(key) => crate::inspect::family_of_width(width(key)?),
        None => match ["add_embedding.linear_1.weight", "label_emb.0.0.weight"].iter().find_map(|key| width(&format!("{prefix}{key}")))? {
            2816 => Some("sdxl"),
            2560 => Some("sdxl-refiner"),
            _ => None,
        },
    }
}

fn text_width(weights: &Weights) -> Option<usize> {
    const NORMS: [&str; 6] = [
        "text_model.final_layer_norm.weight",
        "final_layer_norm.weight",
        "ln_final.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
        "cond_stage_model.transformer.final_layer_norm.weight",
        "cond_stage_model.model.ln_final.weight",
    ];
    NORMS.iter().find_map(|name| weights.describe(name)).and_then(|(_, shape)| shape.first().copied())
}

fn text_family(weights: &Weights) -> Option<&'static str> {
    match text_width(weights)? {
        768 => Some("sd1"),
        1024 => Some("sd2"),
        1280 => Some("sdxl"),
        _ => None,
    }
}

/// Keys and texts that trainers leave to say how the model was trained: kind of noise levels, zero terminal SNR, prediction type.
/// Source: ComfyUI supported_models.py `SDXL.model_type`; https://github.com/Stability-AI/ModelSpec.
fn markers(weights: &Weights) -> (Option<&'static str>, bool, Option<&'static str>) {
    let has = |name: &str| weights.describe(name).is_some();
    let texts = weights.metadata();
    let text = |name: &str| texts.get(name).map(|text| text.to_lowercase());
    let stated = match text("modelspec.prediction_type").or_else(|| text("modelspec.predict_key")).as_deref() {
        Some("v" | "v_prediction" | "vpred") => Some("v_prediction"),
        Some("epsilon" | "eps") => Some("epsilon"),
        _ => None,
    };
    let trained = text("ss_v_parameterization").filter(|text| text == "true").map(|_| "v_prediction");
    let zero = has("ztsnr") || text("ss_zero_terminal_snr").is_some_and(|text| text == "true");
    match () {
        () if has("edm_mean") && has("edm_std") => (Some("edm"), zero, Some("epsilon")),
        () if has("edm_vpred.sigma_max") => (Some("edm_vpred"), zero, Some("v_prediction")),
        () if has("v_pred") => (None, zero, Some("v_prediction")),
        () => (None, zero, stated.or(trained)),
    }
}

/// Stable Diffusion 2's files of 512 and 768 pixels have the same keys and shapes; their training step tells, or one bias.
fn sd2_prediction(weights: &Weights, unet: Option<(&str, Layout)>, family: Option<&str>, channels: Option<(usize, usize)>) -> Option<&'static str> {
    let (prefix, layout) = unet.filter(|_| family == Some("sd2"))?;
    if channels.is_some_and(|(inputs, _)| inputs != 4) {
        return Some("epsilon");
    }
    let step = weights.metadata().get("global_step").cloned().unwrap_or_default();
    if STEPS_OF_V.contains(&step.as_str()) {
        return Some("v_prediction");
    }
    if STEPS_OF_EPSILON.contains(&step.as_str()) {
        return Some("epsilon");
    }
    let name = format!("{prefix}{}", if layout == Layout::Ldm { SD2_NORM } else { SD2_NORM_DIFFUSERS });
    let values: Vec<f32> = weights.read(&name, &Device::Cpu).ok()?.to_dtype(DType::F32).ok()?.flatten_all().ok()?.to_vec1().ok()?;
    let count = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let spread = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
    Some(if spread > SD2_SPREAD { "v_prediction" } else { "epsilon" })
}
