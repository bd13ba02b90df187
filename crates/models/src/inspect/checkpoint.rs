use super::family_of_width;

/// Keys whose presence tells what a file is, first match wins.
const MARKS: [(&str, &str); 14] = [
    ("lora_", "lora"),
    (".lora", "lora"),
    (".hada_", "lora"),
    (".lokr_", "lora"),
    ("model.diffusion_model.", "checkpoint"),
    ("control_model.", "controlnet"),
    ("controlnet_cond_embedding.", "controlnet"),
    ("image_proj.", "ip-adapter"),
    ("motion_modules.", "motion-adapter"),
    ("adapter.body.", "t2i-adapter"),
    ("emb_params", "textual-inversion"),
    ("clip_l", "textual-inversion"),
    ("first_stage_model.", "vae"),
    ("vision_model.", "image-encoder"),
];

/// Kind and family of a weights file, from its keys and shapes.
pub(super) fn kind_of_keys(tensors: &[(&str, &[usize])]) -> (&'static str, Option<&'static str>) {
    let has = |part: &str| tensors.iter().any(|(name, _)| name.contains(part));
    let kind = MARKS.iter().find(|(part, _)| has(part)).map(|(_, kind)| *kind);
    let kind = kind.unwrap_or_else(|| match () {
        () if has("mid_block.") && has("time_embedding.") => "unet",
        () if has("input_blocks.") && has("time_embed.") => "unet",
        () if has("decoder.") && has("conv_out.") => "vae",
        () if has("decoder.layers.") => "taesd",
        () if has("token_embedding.") => "text-encoder",
        () => "unknown",
    });
    (kind, family(tensors))
}

/// The family by the width of the text that cross-attention reads.
fn family(tensors: &[(&str, &[usize])]) -> Option<&'static str> {
    let is_text_key = |name: &str| name.ends_with("attn2.to_k.weight") || name.contains("attn2_to_k.lora_down") || name.contains("attn2.to_k.lora_A");
    let (_, shape) = tensors.iter().find(|(name, shape)| is_text_key(name) && shape.len() == 2)?;
    family_of_width(*shape.last()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_keys() {
        let unet = [
            ("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", &[320, 768][..]),
            ("mid_block.x", &[1]),
            ("time_embedding.x", &[1]),
        ];
        assert_eq!(kind_of_keys(&unet), ("unet", Some("sd1")));
        let lora = [("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", &[4, 2048][..])];
        assert_eq!(kind_of_keys(&lora), ("lora", Some("sdxl")));
        let vae = [("decoder.conv_out.weight", &[3, 128, 3, 3][..])];
        assert_eq!(kind_of_keys(&vae), ("vae", None));
        assert_eq!(kind_of_keys(&[("x", &[1][..])]), ("unknown", None));
    }
}
