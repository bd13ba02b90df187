use super::config::ContextKind;
use super::free_u::FreeUFactors;
use super::image_conditioning::IMAGE_TOKENS;
use crate::adapters::{ImagePrompt, Motion};
use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use candle_core::Tensor;

/// Perturbed-attention guidance: self-attention layers whose map becomes the identity. Source: arXiv:2403.17377.
#[derive(Clone, Copy, Debug)]
pub struct Perturbation<'a> {
    /// Numbers of layers, in the order of `UNet2DConditionModel::self_attention_layers`.
    pub layers: &'a [usize],
    /// That many samples at the end of the batch are perturbed.
    pub samples: usize,
}

/// Arguments of one UNet evaluation, in diffusers' names and shapes (images are (B, C, H, W)).
pub struct UNetInput<'a> {
    /// Noisy latents (B, in_channels, H, W); any H and W of at least 1.
    pub sample: &'a Tensor,
    /// One timestep, or one per sample.
    pub timesteps: &'a [f64],
    /// Text (B, S, D); not read by models that read images.
    pub encoder_hidden_states: &'a Tensor,
    /// Labels (B), or vectors (B, D), where the model has a class embedding.
    pub class_labels: Option<&'a Tensor>,
    /// Guidance embedding (B, time_cond_proj_dim) of LCM models.
    pub timestep_cond: Option<&'a Tensor>,
    /// SDXL's pooled text (B, D).
    pub text_embeds: Option<&'a Tensor>,
    /// SDXL's sizes and crops (B, 6), five with an aesthetic score.
    pub time_ids: Option<&'a Tensor>,
    /// Image embeddings (B, D) of models that read them in place of text.
    pub image_embeds: Option<&'a Tensor>,
    /// Pictures (B, 3, 8 H, 8 W) that such a model follows.
    pub hint: Option<&'a Tensor>,
    /// (B, S): 1 keeps a token, 0 drops it.
    pub encoder_attention_mask: Option<&'a Tensor>,
    /// ControlNet residuals of the descending half, (B, C, h, w) or pooled (B, C, 1, 1).
    pub down_block_additional_residuals: &'a [Tensor],
    /// ControlNet residual of the mid block.
    pub mid_block_additional_residual: Option<&'a Tensor>,
    /// T2I-Adapter features, one per down block and possibly one for the mid block.
    pub down_intrablock_additional_residuals: &'a [Tensor],
    /// Images that the cross-attention layers read besides the text.
    pub image_prompts: &'a [ImagePrompt<'a>],
    /// Motion modules; the batch then holds the frames of each video next to each other, and the text is repeated for them.
    pub motion: Option<Motion<'a>>,
    /// Self-attention layers to perturb.
    pub perturbed: Option<Perturbation<'a>>,
    /// FreeU factors.
    pub freeu: Option<FreeUFactors>,
    /// Polled between layers.
    pub cancel: &'a CancelToken,
}

impl<'a> UNetInput<'a> {
    /// The arguments that every model needs; set the optional ones by name.
    pub fn new(sample: &'a Tensor, timesteps: &'a [f64], encoder_hidden_states: &'a Tensor, cancel: &'a CancelToken) -> Self {
        Self {
            sample,
            timesteps,
            encoder_hidden_states,
            class_labels: None,
            timestep_cond: None,
            text_embeds: None,
            time_ids: None,
            image_embeds: None,
            hint: None,
            encoder_attention_mask: None,
            down_block_additional_residuals: &[],
            mid_block_additional_residual: None,
            down_intrablock_additional_residuals: &[],
            image_prompts: &[],
            motion: None,
            perturbed: None,
            freeu: None,
            cancel,
        }
    }

    /// Refuses arguments that do not fit the model or each other; gives (B, H, W).
    pub(crate) fn check(&self, channels: usize, context: ContextKind) -> Result<(usize, usize, usize)> {
        let (batch, height, width) = match *self.sample.dims() {
            [b, c, h, w] if c == channels && b * h * w > 0 => (b, h, w),
            _ => return Err(ModelError::shape("sample", format!("shape (B, {channels}, H, W)"), self.sample)),
        };
        let prompt = self.prompt(context)?;
        let tokens = match (context, prompt.dims()) {
            (ContextKind::Text(width), &[b, s, d]) if b == batch && s > 0 && d == width => s,
            (ContextKind::Image(width), &[b, d]) if b == batch && d == width => IMAGE_TOKENS,
            (ContextKind::Text(width), _) => return Err(ModelError::shape("encoder_hidden_states", format!("shape ({batch}, S, {width})"), prompt)),
            (ContextKind::Image(width), _) => return Err(ModelError::shape("image_embeds", format!("shape ({batch}, {width})"), prompt)),
        };
        if let Some(mask) = self.encoder_attention_mask {
            if mask.dims() != [batch, tokens] {
                return Err(ModelError::shape("encoder_attention_mask", format!("shape ({batch}, {tokens})"), mask));
            }
        }
        if let Some(freeu) = &self.freeu {
            freeu.check()?;
        }
        self.batch_timesteps(batch)?;
        Ok((batch, height, width))
    }

    /// What the cross-attention layers read, before its projection.
    pub(crate) fn prompt(&self, context: ContextKind) -> Result<&'a Tensor> {
        match context {
            ContextKind::Text(_) => Ok(self.encoder_hidden_states),
            ContextKind::Image(_) => self
                .image_embeds
                .ok_or_else(|| ModelError::argument("image_embeds", "a tensor, because encoder_hid_dim_type is image_proj,", "nothing")),
        }
    }

    /// Whether the call carries the residuals of a ControlNet.
    pub(crate) fn is_controlled(&self) -> bool {
        self.mid_block_additional_residual.is_some() && !self.down_block_additional_residuals.is_empty()
    }

    /// One finite timestep per sample.
    pub(crate) fn batch_timesteps(&self, batch: usize) -> Result<Vec<f64>> {
        if let Some(bad) = self.timesteps.iter().find(|t| !t.is_finite()) {
            return Err(ModelError::argument("timestep", "finite numbers", bad));
        }
        match self.timesteps {
            [t] => Ok(vec![*t; batch]),
            all if all.len() == batch => Ok(all.to_vec()),
            all => Err(ModelError::argument("timestep", format!("1 or {batch} numbers"), format!("{} numbers", all.len()))),
        }
    }
}
