use crate::check::{Check, FINAL};
use crate::folder::{context, scope, Call, Folder};
use crate::Runner;
use candle_core::Tensor;
use nd_models::unet::{FreeU, UNet2DConditionModel, UNetConfig, UNetInput};
use nd_models::{read_json, CancelToken, Result};
use std::path::Path;

pub fn load(path: &Path) -> Result<UNet2DConditionModel> {
    let config = UNetConfig::from_json(&read_json(&path.join("config.json"))?)?;
    UNet2DConditionModel::load(&config, scope(path)?, &context())
}

/// The tensors of a call that UNets take.
pub struct Inputs {
    sample: Tensor,
    timesteps: Vec<f64>,
    encoder_hidden_states: Tensor,
    optional: [Option<Tensor>; 5],
    freeu: Option<FreeU>,
    cancel: CancelToken,
}

impl Inputs {
    pub fn new(call: &Call) -> Self {
        let factor = |key: &str| call.info["freeu"][key].as_f64();
        let freeu = || Some(FreeU { s1: factor("s1")?, s2: factor("s2")?, b1: factor("b1")?, b2: factor("b2")? });
        Self {
            sample: call.need("sample"),
            timesteps: call.timesteps(),
            encoder_hidden_states: call.need("encoder_hidden_states"),
            optional: ["class_labels", "timestep_cond", "text_embeds", "time_ids", "encoder_attention_mask"].map(|name| call.input(name)),
            freeu: freeu(),
            cancel: CancelToken::new(),
        }
    }

    /// The same call on other latents, with each timestep repeated for its share of them.
    pub fn with_sample(self, sample: Tensor) -> Self {
        let batch = sample.dims()[0];
        let repeat = if self.timesteps.len() > 1 { batch / self.timesteps.len() } else { 1 };
        let timesteps = self.timesteps.iter().flat_map(|&t| vec![t; repeat]).collect();
        Self { sample, timesteps, ..self }
    }

    pub fn borrow(&self) -> UNetInput<'_> {
        let [class_labels, timestep_cond, text_embeds, time_ids, encoder_attention_mask] = self.optional.each_ref().map(Option::as_ref);
        UNetInput {
            class_labels,
            timestep_cond,
            text_embeds,
            time_ids,
            encoder_attention_mask,
            freeu: self.freeu,
            ..UNetInput::new(&self.sample, &self.timesteps, &self.encoder_hidden_states, &self.cancel)
        }
    }
}

pub fn unet(folder: &Folder) -> Result<Runner> {
    let model = load(&folder.path)?;
    Ok(Box::new(move |call: &Call| {
        let inputs = Inputs::new(call);
        let mut check = Check::default();
        check.compare(call, "sample", &model.forward(&inputs.borrow())?, FINAL)?;
        Ok(check)
    }))
}
