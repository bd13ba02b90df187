use crate::check::{Check, TEXT};
use crate::folder::{context, Call, Folder};
use crate::Runner;
use nd_models::clip::{ClipTextConfig, ClipTextModel, ClipVisionConfig, ClipVisionModel};
use nd_models::{CancelToken, Result};

pub fn text(folder: &Folder, projection: bool) -> Result<Runner> {
    let config = ClipTextConfig::from_json(&folder.config())?;
    let load = if projection { ClipTextModel::load_with_projection } else { ClipTextModel::load };
    let model = load(&config, folder.weights()?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let mask = call.input("attention_mask");
        let out = model.forward_masked(&call.need("input_ids"), mask.as_ref(), &CancelToken::new())?;
        let mut check = Check::default();
        check.compare(call, "last_hidden_state", &out.last_hidden_state, TEXT)?;
        check.compare(call, "pooler_output", &out.pooler_output, TEXT)?;
        if let Some(embeds) = &out.text_embeds {
            check.compare(call, "text_embeds", embeds, TEXT)?;
        }
        for (i, hidden) in out.hidden_states.iter().enumerate() {
            check.compare(call, &format!("hidden_states.{i}"), hidden, TEXT)?;
        }
        for (skip, hidden) in out.hidden_states.iter().rev().enumerate() {
            check.compare(call, &format!("clip_skip_{skip}"), &model.final_layer_norm(hidden)?, TEXT)?;
        }
        Ok(check)
    }))
}

pub fn vision(folder: &Folder) -> Result<Runner> {
    let config = ClipVisionConfig::from_json(&folder.config())?;
    let model = ClipVisionModel::load_with_projection(&config, folder.weights()?, &context())?;
    Ok(Box::new(move |call: &Call| {
        let out = model.forward(&call.need("pixel_values"), &CancelToken::new())?;
        let mut check = Check::default();
        if let Some(embeds) = &out.image_embeds {
            check.compare(call, "image_embeds", embeds, TEXT)?;
        }
        check.compare(call, "last_hidden_state", &out.last_hidden_state, TEXT)?;
        for (i, hidden) in out.hidden_states.iter().enumerate() {
            check.compare(call, &format!("hidden_states.{i}"), hidden, TEXT)?;
        }
        Ok(check)
    }))
}
