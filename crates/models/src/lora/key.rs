/// What one tensor of an adapter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// LoRA's A: (rank, in).
    Down,
    /// LoRA's B: (out, rank).
    Up,
    /// The core of a decomposed convolution, between down and up.
    Mid,
    Alpha,
    /// A factor on the whole change.
    Scalar,
    /// DoRA's magnitudes as LyCORIS and kohya keep them.
    DoraScale,
    /// DoRA's magnitudes as PEFT keeps them.
    Magnitude,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// A full change of the weight.
    Diff,
    /// A full change of the bias.
    DiffB,
    /// LyCORIS's IA3: one factor less 1 for each channel.
    Ia3,
    /// Whether these are channels of the input.
    Ia3OnInput,
    /// PEFT's IA3: one factor for each channel.
    Ia3Factor,
    /// GLoRA's factors of the change that is a product with the weight: (in, rank), (rank, in).
    GloraA1,
    GloraA2,
    /// GLoRA's factors of the change beside it: (out, rank), (rank, in), and the core of a convolution between them.
    GloraB1,
    GloraB2,
    GloraBm,
    /// OFT's blocks (blocks, b, b), or BOFT's (stages, blocks, b, b), whose difference to their transposed is turned into rotations.
    OftBlocks,
    /// Old OFT's rotations (blocks, b, b).
    OftDiag,
    /// A factor for each output channel, beside rotations.
    Rescale,
    /// LoRA-XS's matrix between down and up, which is not read.
    Latent,
}

/// Endings of keys, as kohya, LyCORIS, diffusers (three generations) and PEFT write them; the longer of two that match stands first.
const ENDINGS: [(&str, Part); 48] = [
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Mid),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".alpha", Part::Alpha),
    (".scalar", Part::Scalar),
    (".dora_scale", Part::DoraScale),
    (".hada_w1_a", Part::HadaW1A),
    (".hada_w1_b", Part::HadaW1B),
    (".hada_w2_a", Part::HadaW2A),
    (".hada_w2_b", Part::HadaW2B),
    (".hada_t1", Part::HadaT1),
    (".hada_t2", Part::HadaT2),
    (".lokr_w1", Part::LokrW1),
    (".lokr_w1_a", Part::LokrW1A),
    (".lokr_w1_b", Part::LokrW1B),
    (".lokr_w2", Part::LokrW2),
    (".lokr_w2_a", Part::LokrW2A),
    (".lokr_w2_b", Part::LokrW2B),
    (".lokr_t2", Part::LokrT2),
    (".diff", Part::Diff),
    (".w_norm", Part::Diff),
    (".diff_b", Part::DiffB),
    (".b_norm", Part::DiffB),
    (".on_input", Part::Ia3OnInput),
    (".ia3_l", Part::Ia3Factor),
    (".lora_down", Part::Down),
    (".lora_up", Part::Up),
    (".a1.weight", Part::GloraA1),
    (".a2.weight", Part::GloraA2),
    (".b1.weight", Part::GloraB1),
    (".b2.weight", Part::GloraB2),
    (".bm.weight", Part::GloraBm),
    (".oft_blocks", Part::OftBlocks),
    (".oft_diag", Part::OftDiag),
    (".rescale", Part::Rescale),
    (".default_lora_latent_mapping.weight", Part::Latent),
    (".lora_latent_mapping.weight", Part::Latent),
    (".weight", Part::Ia3),
];

/// Places where PEFT puts the name of the adapter before the last word: `lora_A.default.weight`.
const NAMED: [(&str, Part); 4] =
    [(".lora_A.", Part::Down), (".lora_B.", Part::Up), (".lora_magnitude_vector.", Part::Magnitude), (".ia3_l.", Part::Ia3Factor)];

/// The layer that a key names and what the tensor is to it; `None` for a key of no known kind.
pub(super) fn split(key: &str) -> Option<(&str, Part)> {
    if let Some((ending, part)) = ENDINGS.iter().find(|(ending, part)| *part != Part::Ia3 && key.ends_with(ending)) {
        return Some((key.strip_suffix(ending)?, *part));
    }
    for (mark, part) in NAMED {
        if let Some((layer, rest)) = key.rsplit_once(mark) {
            let name = rest.strip_suffix(".weight").unwrap_or(rest);
            return (!name.is_empty() && !name.contains('.')).then_some((layer, part));
        }
    }
    key.strip_suffix(".weight").map(|layer| (layer, Part::Ia3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_names_its_layer() {
        assert_eq!(split("lora_unet_mid_block_x.lora_down.weight"), Some(("lora_unet_mid_block_x", Part::Down)));
        assert_eq!(split("unet.a.to_q.lora_A.weight"), Some(("unet.a.to_q", Part::Down)));
        assert_eq!(split("unet.a.to_q.lora_B.default.weight"), Some(("unet.a.to_q", Part::Up)));
        assert_eq!(split("unet.a.attn1.processor.to_out_lora.up.weight"), Some(("unet.a.attn1.processor.to_out", Part::Up)));
        assert_eq!(split("te.mlp.fc1.lora_linear_layer.down.weight"), Some(("te.mlp.fc1", Part::Down)));
        assert_eq!(split("unet.a.lora_magnitude_vector"), Some(("unet.a", Part::Magnitude)));
        assert_eq!(split("x.lokr_w1_a"), Some(("x", Part::LokrW1A)));
        assert_eq!(split("x.lokr_w1"), Some(("x", Part::LokrW1)));
        assert_eq!(split("lora_unet_x.weight"), Some(("lora_unet_x", Part::Ia3)));
        assert_eq!(split("lora_unet_x.a1.weight"), Some(("lora_unet_x", Part::GloraA1)));
        assert_eq!(split("lora_unet_x.oft_blocks"), Some(("lora_unet_x", Part::OftBlocks)));
        assert_eq!(split("unet.a.default_lora_latent_mapping.weight"), Some(("unet.a", Part::Latent)));
        assert_eq!(split("alphas_cumprod"), None);
    }
}
