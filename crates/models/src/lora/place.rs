/// A network of a pipeline that adapters change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Unet,
    TextEncoder,
    TextEncoder2,
    /// The motion modules of AnimateDiff, which files name as a part of the UNet.
    MotionAdapter,
}

impl Component {
    /// The component's name in diffusers: `unet`, `text_encoder`, `text_encoder_2` or `motion_adapter`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::MotionAdapter => "motion_adapter",
        }
    }
}

/// What names of layers start with, for each component. The first that fits counts.
const STARTS: [(&str, Component); 14] = [
    ("lora_unet_", Component::Unet),
    ("lora_te1_", Component::TextEncoder),
    ("lora_te2_", Component::TextEncoder2),
    ("lora_te_", Component::TextEncoder),
    ("lycoris_", Component::Unet),
    ("unet.", Component::Unet),
    ("text_encoder_2.", Component::TextEncoder2),
    ("text_encoder.", Component::TextEncoder),
    ("model.diffusion_model.", Component::Unet),
    ("diffusion_model.", Component::Unet),
    ("text_encoders.clip_l.transformer.", Component::TextEncoder),
    ("text_encoders.clip_g.transformer.", Component::TextEncoder2),
    ("clip_l.transformer.", Component::TextEncoder),
    ("clip_g.transformer.", Component::TextEncoder2),
];

/// Wrappers that training leaves around the names.
const WRAPPERS: [&str; 3] = ["base_model.model.", "base_model_model_", "module."];

/// Names that stand without a component: attention processors of a UNet saved alone, and a text encoder trained with PEFT.
const BARE: [(&str, Component); 9] = [
    ("down_blocks", Component::Unet),
    ("mid_block", Component::Unet),
    ("up_blocks", Component::Unet),
    ("input_blocks", Component::Unet),
    ("middle_block", Component::Unet),
    ("output_blocks", Component::Unet),
    ("conv_", Component::Unet),
    ("time_embedding", Component::Unet),
    ("text_model", Component::TextEncoder),
];

/// The component of a layer's name in a file, and the rest of the name as `flatten` writes it.
pub(super) fn locate(name: &str) -> Option<(Component, String)> {
    let name = WRAPPERS.iter().fold(name, |name, wrapper| name.strip_prefix(wrapper).unwrap_or(name));
    let prefixed = STARTS.iter().find_map(|(start, component)| name.strip_prefix(start).map(|rest| (*component, rest)));
    let bare = || BARE.iter().find(|(start, _)| name.starts_with(start)).map(|(_, component)| (*component, name));
    let (component, rest) = prefixed.or_else(bare)?;
    let rest = WRAPPERS.iter().fold(rest, |rest, wrapper| rest.strip_prefix(wrapper).unwrap_or(rest));
    let flat = flatten(rest);
    if component == Component::Unet && flat.contains(MOTION) {
        return Some((Component::MotionAdapter, motion_name(&flat)));
    }
    Some((component, flat))
}

/// A part of the name of every layer of a motion adapter.
const MOTION: &str = "_motion_modules_";

/// A layer of a motion adapter as diffusers names it, from the name that AnimateDiff gives it.
/// Source: diffusers scripts/convert_animatediff_motion_lora_to_diffusers.py `convert_motion_module`.
fn motion_name(flat: &str) -> String {
    flat.replace("_temporal_transformer_", "_").replace("_attention_blocks_0_", "_attn1_").replace("_attention_blocks_1_", "_attn2_")
}

/// One spelling of the names of layers: no dots, no attention processors, no `text_model`.
pub(super) fn flatten(module: &str) -> String {
    let flat = module.replace(".processor.", ".").replace('.', "_").replace("_processor_to_", "_to_");
    flat.strip_prefix("text_model_").map(str::to_string).unwrap_or(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_trainers_lead_to_one_spelling() {
        let layer = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q".to_string();
        let dotted = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
        for name in
            [format!("lora_unet_{layer}"), format!("unet.{dotted}"), format!("base_model.model.{dotted}"), dotted.replace("attn1", "attn1.processor")]
        {
            assert_eq!(locate(&name), Some((Component::Unet, layer.clone())), "{name}");
        }
        let text = (Component::TextEncoder2, "encoder_layers_0_mlp_fc1".to_string());
        assert_eq!(locate("lora_te2_text_model_encoder_layers_0_mlp_fc1"), Some(text));
        assert_eq!(locate("alphas"), None);
        let motion = "down_blocks_0_motion_modules_1_transformer_blocks_0_attn2_to_q".to_string();
        for name in [
            "unet.down_blocks.0.motion_modules.1.transformer_blocks.0.attn2.to_q",
            "module.down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1.processor.to_q",
        ] {
            assert_eq!(locate(name), Some((Component::MotionAdapter, motion.clone())), "{name}");
        }
    }
}
