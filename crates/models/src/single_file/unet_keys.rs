use std::collections::HashSet;

/// Parts of a residual block in LDM's names and diffusers'.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("emb_layers.1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
];

/// Single layers in LDM's names and diffusers'.
const TOP: [(&str, &str); 8] = [
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("time_embed.cond_proj.", "time_embedding.cond_proj."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
];

/// What the numbering of a UNet's blocks depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UNetShape {
    /// Residual blocks of each level on the way down; one more on the way up.
    layers: usize,
    /// Levels of the way up with attention, outermost last, for the place of their upsampler.
    attention: HashSet<usize>,
}

impl UNetShape {
    /// The shape of a UNet by its keys in LDM's names, without prefix.
    pub fn of_ldm<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let (mut first_down, mut last) = (None, 0);
        for key in keys {
            let Some((index, rest)) = key.strip_prefix("input_blocks.").and_then(number) else { continue };
            last = last.max(index);
            if rest.starts_with("0.op.") {
                first_down = Some(first_down.map_or(index, |known: usize| known.min(index)));
            }
        }
        // The first downsampler follows the first level's blocks; a UNet of one level has none.
        Self { layers: first_down.map_or(last, |index| index.saturating_sub(1)).max(1), attention: HashSet::new() }
    }

    /// The shape of a UNet by its keys in diffusers' names.
    pub fn of_diffusers<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let (mut layers, mut attention) = (0, HashSet::new());
        for key in keys {
            if let Some((index, _)) = key.strip_prefix("down_blocks.0.resnets.").and_then(number) {
                layers = layers.max(index + 1);
            }
            if let Some((level, rest)) = key.strip_prefix("up_blocks.").and_then(number) {
                if rest.starts_with("attentions.") {
                    attention.insert(level);
                }
            }
        }
        Self { layers: layers.max(1), attention }
    }

    /// The name in diffusers of a key of LDM's UNet, without prefix. Source: diffusers single_file_utils.py `convert_ldm_unet_checkpoint`.
    pub fn to_diffusers(&self, key: &str) -> Option<String> {
        if let Some((ldm, ours)) = TOP.iter().find(|(ldm, _)| key.starts_with(ldm)) {
            return Some(key.replacen(ldm, ours, 1));
        }
        if let Some(rest) = key.strip_prefix("middle_block.") {
            let (index, rest) = number(rest)?;
            return Some(match index {
                1 => format!("mid_block.attentions.0.{rest}"),
                _ => format!("mid_block.resnets.{}.{}", index / 2, resnet_to_diffusers(rest)?),
            });
        }
        let (side, rest, shift) = match key.strip_prefix("input_blocks.") {
            Some(rest) => ("down", rest, 1),
            None => ("up", key.strip_prefix("output_blocks.")?, 0),
        };
        let (index, rest) = number(rest)?;
        let (place, rest) = number(rest)?;
        let index = index.checked_sub(shift)?;
        let (level, layer) = (index / (self.layers + 1), index % (self.layers + 1));
        Some(match (place, rest) {
            (_, rest) if rest.starts_with("op.") => format!("{side}_blocks.{level}.downsamplers.0.conv.{}", rest.strip_prefix("op.")?),
            (1.., rest) if rest.starts_with("conv.") => format!("{side}_blocks.{level}.upsamplers.0.{rest}"),
            (0, rest) => format!("{side}_blocks.{level}.resnets.{layer}.{}", resnet_to_diffusers(rest)?),
            (_, rest) => format!("{side}_blocks.{level}.attentions.{layer}.{rest}"),
        })
    }

    /// The name in LDM of a key of diffusers' UNet; the inverse of `to_diffusers`.
    pub fn to_ldm(&self, key: &str) -> Option<String> {
        if let Some((ldm, ours)) = TOP.iter().find(|(_, ours)| key.starts_with(ours)) {
            return Some(key.replacen(ours, ldm, 1));
        }
        if let Some(rest) = key.strip_prefix("mid_block.resnets.") {
            let (index, rest) = number(rest)?;
            return Some(format!("middle_block.{}.{}", 2 * index, resnet_to_ldm(rest)?));
        }
        if let Some(rest) = key.strip_prefix("mid_block.attentions.0.") {
            return Some(format!("middle_block.1.{rest}"));
        }
        let (blocks, rest, shift) = match key.strip_prefix("down_blocks.") {
            Some(rest) => ("input_blocks", rest, 1),
            None => ("output_blocks", key.strip_prefix("up_blocks.")?, 0),
        };
        let (level, rest) = number(rest)?;
        let (kind, rest) = rest.split_once('.')?;
        let (layer, rest) = number(rest)?;
        let index = level * (self.layers + 1) + layer + shift;
        let last = level * (self.layers + 1) + self.layers + shift;
        Some(match kind {
            "resnets" => format!("{blocks}.{index}.0.{}", resnet_to_ldm(rest)?),
            "attentions" => format!("{blocks}.{index}.1.{rest}"),
            "downsamplers" => format!("{blocks}.{last}.0.op.{}", rest.strip_prefix("conv.")?),
            "upsamplers" => format!("{blocks}.{last}.{}.{rest}", 1 + usize::from(self.attention.contains(&level))),
            _ => return None,
        })
    }
}

fn resnet_to_diffusers(rest: &str) -> Option<String> {
    RESNET.iter().find_map(|(ldm, ours)| rest.strip_prefix(ldm).map(|tail| format!("{ours}{tail}")))
}

fn resnet_to_ldm(rest: &str) -> Option<String> {
    RESNET.iter().find_map(|(ldm, ours)| rest.strip_prefix(ours).map(|tail| format!("{ldm}{tail}")))
}

/// Splits `12.rest` into its number and what follows.
pub(super) fn number(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once('.')?;
    Some((digits.parse().ok().filter(|n| *n < 10_000)?, rest))
}
