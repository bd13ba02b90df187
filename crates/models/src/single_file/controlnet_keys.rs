use super::unet_keys::{number, UNetShape};

const HINT: &str = "input_hint_block.";
const EMBEDDING: &str = "controlnet_cond_embedding.";

/// What the numbering of a ControlNet's blocks depends on.
pub(super) struct ControlNetShape {
    unet: UNetShape,
    /// Number of the last layer of the hint's embedding, 14 in published files.
    last_hint: usize,
}

impl ControlNetShape {
    /// The shape of a ControlNet by its keys in LDM's names, without prefix.
    pub fn of_ldm<'k>(keys: impl Iterator<Item = &'k str> + Clone) -> Self {
        let last_hint = keys.clone().filter_map(|key| number(key.strip_prefix(HINT)?)).map(|(n, _)| n).max().unwrap_or(0);
        Self { unet: UNetShape::of_ldm(keys), last_hint }
    }

    /// The shape of a ControlNet by its keys in diffusers' names.
    pub fn of_diffusers<'k>(keys: impl Iterator<Item = &'k str> + Clone) -> Self {
        let blocks = keys.clone().filter_map(|key| number(key.strip_prefix(EMBEDDING)?.strip_prefix("blocks.")?)).map(|(n, _)| n + 1).max();
        Self { unet: UNetShape::of_diffusers(keys), last_hint: 2 * (1 + blocks.unwrap_or(0)) }
    }

    /// The name in diffusers of a key of LDM's ControlNet. Source: diffusers single_file_utils.py `convert_controlnet_checkpoint`.
    pub fn to_diffusers(&self, key: &str) -> Option<String> {
        if let Some(rest) = key.strip_prefix(HINT) {
            let (index, rest) = number(rest)?;
            return Some(match index {
                0 => format!("{EMBEDDING}conv_in.{rest}"),
                index if index == self.last_hint => format!("{EMBEDDING}conv_out.{rest}"),
                index => format!("{EMBEDDING}blocks.{}.{rest}", (index / 2).checked_sub(1)?),
            });
        }
        if let Some(rest) = key.strip_prefix("zero_convs.") {
            let (index, rest) = number(rest)?;
            return Some(format!("controlnet_down_blocks.{index}.{}", rest.strip_prefix("0.")?));
        }
        match key.strip_prefix("middle_block_out.0.") {
            Some(rest) => Some(format!("controlnet_mid_block.{rest}")),
            None => self.unet.to_diffusers(key),
        }
    }

    /// The name in LDM of a key of diffusers' ControlNet; the inverse of `to_diffusers`.
    pub fn to_ldm(&self, key: &str) -> Option<String> {
        if let Some(rest) = key.strip_prefix(EMBEDDING) {
            let (at, rest) = match rest.strip_prefix("blocks.") {
                Some(rest) => number(rest).map(|(index, rest)| (2 * (1 + index), rest))?,
                None => match rest.strip_prefix("conv_in.") {
                    Some(rest) => (0, rest),
                    None => (self.last_hint, rest.strip_prefix("conv_out.")?),
                },
            };
            return Some(format!("{HINT}{at}.{rest}"));
        }
        if let Some((index, rest)) = key.strip_prefix("controlnet_down_blocks.").and_then(number) {
            return Some(format!("zero_convs.{index}.0.{rest}"));
        }
        match key.strip_prefix("controlnet_mid_block.") {
            Some(rest) => Some(format!("middle_block_out.0.{rest}")),
            None => self.unet.to_ldm(key),
        }
    }
}
