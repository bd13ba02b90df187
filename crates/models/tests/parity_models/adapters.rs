use crate::check::{Check, FINAL, TEXT};
use crate::folder::{context, scope, Call, Folder};
use crate::unet::{load, Inputs};
use crate::{Plan, Runner};
use candle_core::Tensor;
use nd_models::adapters::{ImagePrompt, IpAdapter, Motion, MotionAdapter, MotionConfig, T2IAdapter, T2IAdapterConfig};
use nd_models::controlnet::{ControlNetConfig, ControlNetInput, ControlNetModel, ControlNetOutput, ControlNetUnionModel, UnionConfig, UnionInput};
use nd_models::unet::{UNet2DConditionModel, UNetInput};
use nd_models::vae::{AutoencoderTiny, TinyVaeConfig};
use nd_models::{read_json, CancelToken, Result};
use std::path::PathBuf;

/// Models beside the UNet.
pub fn plan(folder: &Folder, class: &str) -> Result<Plan> {
    Ok(Plan::Run(match class {
        "AutoencoderTiny" => taesd(folder)?,
        "ControlNetModel" => controlnet(folder)?,
        "ControlNetUnionModel" => union(folder)?,
        "T2IAdapter" => t2i(folder)?,
        "" if folder.path.join("motion_adapter").is_dir() => motion(folder)?,
        "" if !adapter_files(folder).is_empty() => ip_adapter(folder)?,
        "" => return Ok(Plan::Uncovered("its kind is not known".into())),
        other => return Ok(Plan::Uncovered(format!("{other} is not known"))),
    }))
}

fn base_unet(folder: &Folder) -> Result<Option<UNet2DConditionModel>> {
    folder.io["unet"].as_str().map(|path| load(&folder.path.join(path))).transpose()
}

fn taesd(folder: &Folder) -> Result<Runner> {
    let model = AutoencoderTiny::load(&TinyVaeConfig::from_json(&folder.config())?, folder.weights()?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let cancel = CancelToken::new();
        let encoded = model.encode(&call.need("image"), &cancel)?;
        let scaled = model.scale_latents(&encoded)?;
        let mut check = Check::default();
        check.compare(call, "encoded", &encoded, FINAL)?;
        check.compare(call, "scaled", &scaled, FINAL)?;
        check.compare(call, "unscaled", &model.unscale_latents(&scaled)?, FINAL)?;
        check.compare(call, "decoded", &model.decode(&call.need("latents"), &cancel)?, FINAL)?;
        Ok(check)
    }))
}

fn residuals(check: &mut Check, call: &Call, out: &ControlNetOutput) -> Result<()> {
    for (i, residual) in out.down_block_res_samples.iter().enumerate() {
        check.compare(call, &format!("down_residuals.{i}"), residual, FINAL)?;
    }
    check.compare(call, "mid_residual", &out.mid_block_res_sample, FINAL)
}

fn controlnet(folder: &Folder) -> Result<Runner> {
    let model = ControlNetModel::load(&ControlNetConfig::from_json(&folder.config())?, folder.weights()?, &context())?;
    let unet = base_unet(folder)?;
    Ok(Box::new(move |call: &Call| {
        let inputs = Inputs::new(call);
        let image = call.need("controlnet_cond");
        let conditioning_scale = call.number("scale").unwrap_or(1.0);
        let guess_mode = call.info["guess"] == true;
        let out = model.forward(&ControlNetInput { unet: inputs.borrow(), controlnet_cond: &image, conditioning_scale, guess_mode })?;
        let mut check = Check::default();
        residuals(&mut check, call, &out)?;
        if let Some(unet) = &unet {
            check.compare(call, "unet_sample_plain", &unet.forward(&inputs.borrow())?, FINAL)?;
            let controlled = UNetInput {
                down_block_additional_residuals: &out.down_block_res_samples,
                mid_block_additional_residual: Some(&out.mid_block_res_sample),
                ..inputs.borrow()
            };
            check.compare(call, "unet_sample", &unet.forward(&controlled)?, FINAL)?;
        }
        Ok(check)
    }))
}

fn union(folder: &Folder) -> Result<Runner> {
    let model = ControlNetUnionModel::load(&UnionConfig::from_json(&folder.config())?, folder.weights()?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let inputs = Inputs::new(call);
        let indices = call.info["control_type_idx"].as_array().unwrap();
        let indices: Vec<usize> = indices.iter().map(|i| i.as_u64().unwrap() as usize).collect();
        let out = model.forward(&UnionInput {
            unet: inputs.borrow(),
            controlnet_cond: &call.inputs("controlnet_cond"),
            control_type: &call.need("control_type"),
            control_type_idx: &indices,
            conditioning_scale: &[call.number("scale").unwrap_or(1.0)],
            guess_mode: call.info["guess"] == true,
        })?;
        let mut check = Check::default();
        residuals(&mut check, call, &out)?;
        Ok(check)
    }))
}

fn t2i(folder: &Folder) -> Result<Runner> {
    let model = T2IAdapter::load(&T2IAdapterConfig::from_json(&folder.config())?, folder.weights()?, &context())?;
    let unet = base_unet(folder)?;
    Ok(Box::new(move |call: &Call| {
        let features = model.forward(&call.need("adapter_cond"), &CancelToken::new())?;
        let scale = call.number("scale").unwrap_or(1.0);
        let scaled: Vec<Tensor> = features.iter().map(|f| f * scale).collect::<candle_core::Result<_>>()?;
        let inputs = Inputs::new(call);
        let mut check = Check::default();
        for (i, feature) in features.iter().enumerate() {
            check.compare(call, &format!("features.{i}"), feature, TEXT)?;
        }
        if let Some(unet) = &unet {
            check.compare(call, "unet_sample_plain", &unet.forward(&inputs.borrow())?, FINAL)?;
            let adapted = UNetInput { down_intrablock_additional_residuals: &scaled, ..inputs.borrow() };
            check.compare(call, "unet_sample", &unet.forward(&adapted)?, FINAL)?;
        }
        Ok(check)
    }))
}

fn adapter_files(folder: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&folder.path).unwrap().map(|entry| entry.unwrap().path());
    let is_adapter = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ip_adapter_"));
    let mut files: Vec<PathBuf> = entries.filter(is_adapter).collect();
    files.sort();
    files
}

fn ip_adapter(folder: &Folder) -> Result<Runner> {
    let unet = load(&folder.path.join(folder.io["unet"].as_str().unwrap()))?;
    let adapters: Vec<IpAdapter> = adapter_files(folder).iter().map(|path| IpAdapter::load(scope(path)?, &context())).collect::<Result<_>>()?;
    Ok(Box::new(move |call: &Call| {
        let mut check = Check::default();
        let embeds = call.inputs("image_embeds");
        let tokens: Vec<Tensor> = adapters.iter().zip(&embeds).map(|(adapter, embeds)| adapter.project(embeds)).collect::<Result<_>>()?;
        for (i, tokens) in tokens.iter().enumerate() {
            check.compare(call, &format!("ip_tokens.{i}"), tokens, TEXT)?;
        }
        let masks = call.inputs("ip_adapter_masks");
        let scales: Vec<f64> = call.info["scales"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        let prompt = |i: usize| ImagePrompt { adapter: &adapters[i], tokens: &tokens[i], scales: &scales[i..=i], mask: masks.get(i) };
        let prompts: Vec<ImagePrompt> = (0..adapters.len()).map(prompt).collect();
        let inputs = Inputs::new(call);
        check.compare(call, "sample_without_adapter", &unet.forward(&inputs.borrow())?, FINAL)?;
        check.compare(call, "sample", &unet.forward(&UNetInput { image_prompts: &prompts, ..inputs.borrow() })?, FINAL)?;
        Ok(check)
    }))
}

fn motion(folder: &Folder) -> Result<Runner> {
    let unet = load(&folder.path.join(folder.io["unet"].as_str().unwrap()))?;
    let path = folder.path.join("motion_adapter");
    let adapter = MotionAdapter::load(&MotionConfig::from_json(&read_json(&path.join("config.json"))?)?, scope(&path)?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let video = call.need("sample");
        let (batch, channels, frames, height, width) = video.dims5()?;
        let images = video.transpose(1, 2)?.contiguous()?.reshape((batch * frames, channels, height, width))?;
        let inputs = Inputs::new(call).with_sample(images);
        let out = unet.forward(&UNetInput { motion: Some(Motion { adapter: &adapter, frames, windows: None }), ..inputs.borrow() })?;
        let channels = out.dim(1)?;
        let out = out.reshape((batch, frames, channels, height, width))?.transpose(1, 2)?.contiguous()?;
        let mut check = Check::default();
        check.compare(call, "sample", &out, FINAL)?;
        Ok(check)
    }))
}
