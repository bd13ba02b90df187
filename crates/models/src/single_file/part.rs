use crate::error::{ModelError, Result};
use crate::weights::Weights;

/// A component that a single file may hold, by its name in `model_index.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Unet,
    Vae,
    TextEncoder,
    TextEncoder2,
    ControlNet,
    /// TAESD, or one of its two halves.
    TinyVae,
    SafetyChecker,
    /// AnimateDiff's motion modules.
    MotionAdapter,
    /// The average of a UNet's weights over its training (`model_ema.`), which old checkpoints keep beside the last ones.
    UnetEma,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 9] = [
        Self::ControlNet,
        Self::Unet,
        Self::Vae,
        Self::TextEncoder,
        Self::TextEncoder2,
        Self::TinyVae,
        Self::SafetyChecker,
        Self::MotionAdapter,
        Self::UnetEma,
    ];

    /// The part of a name, see `name`.
    pub fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| ModelError::argument("part", format!("one of {}", Self::ALL.map(Self::name).join(", ")), name))
    }

    /// The name of the part.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::ControlNet => "controlnet",
            Self::TinyVae => "tiny_vae",
            Self::SafetyChecker => "safety_checker",
            Self::MotionAdapter => "motion_adapter",
            Self::UnetEma => "unet_ema",
        }
    }

    /// Ways in which files spell the part, most telling first: what stands before its keys, the layout, and a key that tells.
    fn spellings(self) -> &'static [(&'static str, Layout, &'static str)] {
        use Layout::{AnimateDiff, Diffusers, Ldm, Numbered, OpenClip, Transformers};
        match self {
            Self::Unet => &[
                ("model.diffusion_model.", Ldm, "input_blocks.0.0.weight"),
                ("diffusion_model.", Ldm, "input_blocks.0.0.weight"),
                ("", Ldm, "input_blocks.0.0.weight"),
                ("", Diffusers, "down_blocks.0.resnets.0.conv1.weight"),
                ("unet.", Diffusers, "down_blocks.0.resnets.0.conv1.weight"),
            ],
            Self::Vae => &[
                ("first_stage_model.", Ldm, "decoder.conv_in.weight"),
                ("", Ldm, "decoder.up.0.block.0.conv1.weight"),
                ("vae.", Ldm, "decoder.up.0.block.0.conv1.weight"),
                ("", Diffusers, "decoder.up_blocks.0.resnets.0.conv1.weight"),
                ("vae.", Diffusers, "decoder.up_blocks.0.resnets.0.conv1.weight"),
            ],
            Self::TextEncoder => &[
                ("cond_stage_model.transformer.", Transformers, "text_model.embeddings.token_embedding.weight"),
                ("cond_stage_model.transformer.", Transformers, "embeddings.token_embedding.weight"),
                ("cond_stage_model.model.", OpenClip, "token_embedding.weight"),
                ("conditioner.embedders.0.transformer.", Transformers, "text_model.embeddings.token_embedding.weight"),
                ("", Transformers, "text_model.embeddings.token_embedding.weight"),
                ("", Transformers, "embeddings.token_embedding.weight"),
                ("", OpenClip, "transformer.resblocks.0.ln_1.weight"),
            ],
            Self::TextEncoder2 => &[
                ("conditioner.embedders.1.model.", OpenClip, "token_embedding.weight"),
                ("conditioner.embedders.0.model.", OpenClip, "token_embedding.weight"),
                ("", Transformers, "text_model.embeddings.token_embedding.weight"),
                ("", Transformers, "embeddings.token_embedding.weight"),
                ("", OpenClip, "transformer.resblocks.0.ln_1.weight"),
            ],
            Self::ControlNet => &[
                ("control_model.", Ldm, "input_blocks.0.0.weight"),
                ("", Ldm, "zero_convs.0.0.weight"),
                ("", Diffusers, "controlnet_down_blocks.0.weight"),
                ("controlnet.", Diffusers, "controlnet_down_blocks.0.weight"),
            ],
            Self::TinyVae => &[
                ("", Diffusers, "decoder.layers.0.weight"),
                ("taesd_", Numbered, "decoder.1.weight"),
                ("", Numbered, "decoder.1.weight"),
                ("", Numbered, "1.weight"),
                ("", Numbered, "1.conv.0.weight"),
            ],
            Self::SafetyChecker => &[("", Transformers, "concept_embeds")],
            Self::MotionAdapter => &[
                ("", AnimateDiff, "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"),
                ("module.", AnimateDiff, "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"),
                ("", Diffusers, "down_blocks.0.motion_modules.0.norm.weight"),
            ],
            Self::UnetEma => &[("model.diffusion_model.", Ldm, "input_blocks.0.0.weight")],
        }
    }
}

/// A naming of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// CompVis latent diffusion and Stability's generative models.
    Ldm,
    Diffusers,
    Transformers,
    OpenClip,
    /// The numbers of a `torch.nn.Sequential`, as TAESD's own decoder and encoder files.
    Numbered,
    /// AnimateDiff's own motion modules.
    AnimateDiff,
}

impl Layout {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ldm => "ldm",
            Self::Diffusers | Self::Transformers => "diffusers",
            Self::OpenClip => "open_clip",
            Self::Numbered => "numbered",
            Self::AnimateDiff => "animatediff",
        }
    }
}

/// How this file spells the part.
pub(super) fn spelling(weights: &Weights, part: Part) -> Option<(&'static str, Layout)> {
    let found = part.spellings().iter().find(|(prefix, _, key)| weights.describe(&format!("{prefix}{key}")).is_some());
    found.map(|(prefix, layout, _)| (*prefix, *layout))
}
