use super::kv_cache::KvEntry;
use crate::adapters::{Motion, MotionPlace, PreparedPrompt};
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::unet::Perturbation;
use candle_core::Tensor;

/// The time embedding of one forward pass, (B, D).
pub(crate) struct TimeEmbedding {
    pub raw: Tensor,
    /// After the blocks' activation, which every resnet would otherwise apply again.
    pub activated: Tensor,
}

/// What every block of one forward pass is conditioned on.
pub(crate) struct Conditioning<'a> {
    pub time: &'a TimeEmbedding,
    /// Text (B, S, D).
    pub context: &'a Tensor,
    /// Additive attention bias (B, 1, 1, S) over the text.
    pub context_bias: Option<&'a Tensor>,
    /// Keys and values of the text that were computed before.
    pub kv: &'a KvEntry,
    /// Images that the cross-attention layers read besides the text.
    pub image_prompts: &'a [PreparedPrompt<'a>],
    /// Motion modules that run after the layers.
    pub motion: Option<Motion<'a>>,
    /// Self-attention layers in which the last samples look at nothing but themselves.
    pub perturbed: Option<Perturbation<'a>>,
    pub cancel: &'a CancelToken,
}

impl Conditioning<'_> {
    /// How many of the last samples a self-attention layer perturbs.
    pub fn perturbed_samples(&self, layer: usize) -> usize {
        self.perturbed.filter(|perturbed| perturbed.layers.contains(&layer)).map_or(0, |perturbed| perturbed.samples)
    }

    /// x (B, H, W, C) after the motion module of this place, when the call has one.
    pub fn after_layer(&self, place: MotionPlace, x: Tensor) -> Result<Tensor> {
        match &self.motion {
            Some(motion) => motion.apply(place, self.all(&x)?),
            None => Ok(x),
        }
    }
}
