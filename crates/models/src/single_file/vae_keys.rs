use super::unet_keys::number;

/// The attention of the middle in LDM's names and diffusers', today's first.
const ATTENTION: [(&str, &[&str]); 5] = [
    ("norm.", &["group_norm."]),
    ("q.", &["to_q.", "query."]),
    ("k.", &["to_k.", "key."]),
    ("v.", &["to_v.", "value."]),
    ("proj_out.", &["to_out.0.", "proj_attn."]),
];

/// Levels of an autoencoder by its keys in LDM's names or diffusers'.
pub(super) fn levels<'k>(keys: impl Iterator<Item = &'k str>) -> usize {
    const LEVELS: [&str; 4] = ["decoder.up.", "decoder.up_blocks.", "encoder.down.", "encoder.down_blocks."];
    let level = |key: &str| LEVELS.iter().find_map(|start| key.strip_prefix(start)).and_then(number).map(|(level, _)| level + 1);
    keys.filter_map(level).max().unwrap_or(0)
}

/// The name in diffusers of a key of LDM's autoencoder, without prefix; LDM counts the decoder's levels from the other end.
/// Source: diffusers single_file_utils.py `convert_ldm_vae_checkpoint`.
pub(super) fn to_diffusers(key: &str, levels: usize) -> Option<String> {
    if key.starts_with("quant_conv.") || key.starts_with("post_quant_conv.") {
        return Some(key.to_string());
    }
    let (side, rest) = side(key)?;
    if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        return Some(key.to_string());
    }
    if let Some(rest) = rest.strip_prefix("norm_out.") {
        return Some(format!("{side}.conv_norm_out.{rest}"));
    }
    if let Some(rest) = rest.strip_prefix("mid.attn_1.") {
        let (ldm, ours) = ATTENTION.iter().find(|(ldm, _)| rest.starts_with(ldm))?;
        return Some(format!("{side}.mid_block.attentions.0.{}{}", ours.first()?, rest.strip_prefix(ldm)?));
    }
    if let Some((index, rest)) = rest.strip_prefix("mid.block_").and_then(number) {
        return Some(format!("{side}.mid_block.resnets.{}.{}", index.checked_sub(1)?, shortcut(rest, "nin_shortcut", "conv_shortcut")));
    }
    let (blocks, level, rest) = match rest.strip_prefix("down.") {
        Some(rest) => number(rest).map(|(level, rest)| ("down_blocks", level, rest))?,
        None => {
            let (level, rest) = number(rest.strip_prefix("up.")?)?;
            ("up_blocks", levels.checked_sub(1 + level)?, rest)
        }
    };
    if let Some(rest) = rest.strip_prefix("block.") {
        return Some(format!("{side}.{blocks}.{level}.resnets.{}", shortcut(rest, "nin_shortcut", "conv_shortcut")));
    }
    let sampler = rest.strip_prefix("downsample.").map(|rest| ("downsamplers", rest));
    let (sampler, rest) = sampler.or_else(|| rest.strip_prefix("upsample.").map(|rest| ("upsamplers", rest)))?;
    Some(format!("{side}.{blocks}.{level}.{sampler}.0.{rest}"))
}

/// The name in LDM of a key of diffusers' autoencoder; the inverse of `to_diffusers`.
pub(super) fn to_ldm(key: &str, levels: usize) -> Option<String> {
    if key.starts_with("quant_conv.") || key.starts_with("post_quant_conv.") {
        return Some(key.to_string());
    }
    let (side, rest) = side(key)?;
    if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        return Some(key.to_string());
    }
    if let Some(rest) = rest.strip_prefix("conv_norm_out.") {
        return Some(format!("{side}.norm_out.{rest}"));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.attentions.0.") {
        let pick =
            |(ldm, ours): &(&str, &[&str])| ours.iter().find_map(|ours| rest.strip_prefix(ours)).map(|rest| format!("{side}.mid.attn_1.{ldm}{rest}"));
        return ATTENTION.iter().find_map(pick);
    }
    if let Some((index, rest)) = rest.strip_prefix("mid_block.resnets.").and_then(number) {
        return Some(format!("{side}.mid.block_{}.{}", index + 1, shortcut(rest, "conv_shortcut", "nin_shortcut")));
    }
    let (blocks, level, rest) = match rest.strip_prefix("down_blocks.") {
        Some(rest) => number(rest).map(|(level, rest)| ("down", level, rest))?,
        None => {
            let (level, rest) = number(rest.strip_prefix("up_blocks.")?)?;
            ("up", levels.checked_sub(1 + level)?, rest)
        }
    };
    if let Some(rest) = rest.strip_prefix("resnets.") {
        return Some(format!("{side}.{blocks}.{level}.block.{}", shortcut(rest, "conv_shortcut", "nin_shortcut")));
    }
    let sampler = rest.strip_prefix("downsamplers.0.").map(|rest| ("downsample", rest));
    let (sampler, rest) = sampler.or_else(|| rest.strip_prefix("upsamplers.0.").map(|rest| ("upsample", rest)))?;
    Some(format!("{side}.{blocks}.{level}.{sampler}.{rest}"))
}

/// Whether a key in LDM's names is a matrix that LDM keeps as a 1x1 convolution (c, c, 1, 1).
pub(super) fn is_pointwise(ldm_key: &str) -> bool {
    ldm_key.contains(".mid.attn_1.") && ldm_key.ends_with(".weight") && !ldm_key.contains(".norm.")
}

fn side(key: &str) -> Option<(&str, &str)> {
    key.split_once('.').filter(|(side, _)| matches!(*side, "encoder" | "decoder"))
}

fn shortcut(rest: &str, from: &str, to: &str) -> String {
    rest.replacen(from, to, 1)
}
