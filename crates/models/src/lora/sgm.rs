use std::collections::{HashMap, HashSet};

/// Names inside a resnet: diffusers' and the original code's.
const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// Layers outside the blocks.
const TOP: [(&str, &str); 8] = [
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("time_embedding.cond_proj", "time_embed.cond_proj"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
];

/// How the blocks of a UNet are counted in the original code (LDM, SGM), which numbers layers and samplers of all blocks in one row.
pub(super) struct SgmNames {
    /// First number of each down block and of each up block.
    down: Vec<usize>,
    up: Vec<usize>,
    layers: HashMap<String, usize>,
    /// Blocks with attention.
    attentive: HashSet<String>,
}

impl SgmNames {
    /// Counts the layers that these modules show.
    pub fn new<'m>(modules: impl Iterator<Item = &'m str>) -> Self {
        let mut layers: HashMap<String, usize> = HashMap::new();
        let mut attentive = HashSet::new();
        for module in modules {
            let parts: Vec<&str> = module.split('.').collect();
            if let [side @ ("down_blocks" | "up_blocks"), block, kind, layer, ..] = parts[..] {
                let name = format!("{side}.{block}");
                if kind == "attentions" {
                    attentive.insert(name.clone());
                }
                if let ("resnets", Ok(layer)) = (kind, layer.parse::<usize>()) {
                    let count = layers.entry(name).or_default();
                    *count = (*count).max(layer + 1);
                }
            }
        }
        let firsts = |side: &str, start: usize, sampler: usize| {
            let counts = (0..).map_while(|i| layers.get(&format!("{side}.{i}")));
            counts.scan(start, |next, count| Some(std::mem::replace(next, *next + count + sampler))).collect()
        };
        // Convolution `input_blocks.0` comes first; a sampler has a number of its own on the way down only.
        let (down, up) = (firsts("down_blocks", 1, 1), firsts("up_blocks", 0, 0));
        Self { down, up, layers, attentive }
    }

    /// The original name of a layer in diffusers' spelling.
    pub fn of(&self, module: &str) -> Option<String> {
        if let Some((_, name)) = TOP.iter().find(|(ours, _)| *ours == module) {
            return Some((*name).to_string());
        }
        let parts: Vec<&str> = module.split('.').collect();
        match parts[..] {
            ["mid_block", "resnets", layer, ref rest @ ..] => Some(format!("middle_block.{}.{}", 2 * layer.parse::<usize>().ok()?, resnet(rest)?)),
            ["mid_block", "attentions", _, ref rest @ ..] => Some(format!("middle_block.1.{}", rest.join("."))),
            [side @ ("down_blocks" | "up_blocks"), block, kind, layer, ref rest @ ..] => {
                let (block, layer): (usize, usize) = (block.parse().ok()?, layer.parse().ok()?);
                self.in_block(side, block, kind, layer, rest)
            }
            _ => None,
        }
    }

    fn in_block(&self, side: &str, block: usize, kind: &str, layer: usize, rest: &[&str]) -> Option<String> {
        let name = format!("{side}.{block}");
        let (root, first) = if side == "down_blocks" { ("input_blocks", self.down.get(block)?) } else { ("output_blocks", self.up.get(block)?) };
        match kind {
            "resnets" => Some(format!("{root}.{}.0.{}", first + layer, resnet(rest)?)),
            "attentions" => Some(format!("{root}.{}.1.{}", first + layer, rest.join("."))),
            "downsamplers" => Some(format!("{root}.{}.0.op", first + self.layers.get(&name)?)),
            "upsamplers" => {
                let place = if self.attentive.contains(&name) { 2 } else { 1 };
                Some(format!("{root}.{}.{place}.conv", first + self.layers.get(&name)? - 1))
            }
            _ => None,
        }
    }
}

fn resnet(rest: &[&str]) -> Option<&'static str> {
    let [name] = rest else { return None };
    RESNET.iter().find(|(ours, _)| ours == name).map(|(_, original)| *original)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn blocks_are_counted_as_in_sd_1() {
        let mut modules = Vec::new();
        for block in 0..4 {
            modules.extend((0..2).map(|layer| format!("down_blocks.{block}.resnets.{layer}.conv1")));
            modules.extend((0..3).map(|layer| format!("up_blocks.{block}.resnets.{layer}.conv1")));
        }
        modules.extend([1, 2, 3].map(|block| format!("up_blocks.{block}.attentions.0.proj_in")));
        let names = SgmNames::new(modules.iter().map(String::as_str));
        let cases = [
            ("down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q", "input_blocks.5.1.transformer_blocks.0.attn1.to_q"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
            ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
            ("up_blocks.3.resnets.2.conv_shortcut", "output_blocks.11.0.skip_connection"),
            ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
            ("conv_in", "input_blocks.0.0"),
        ];
        for (ours, original) in cases {
            assert_eq!(names.of(ours).unwrap(), original);
        }
        assert_eq!(names.of("down_blocks.0.resnets.0.oddity"), None);
    }
}
