use super::unet_keys::number;
use super::{part, Part};
use crate::weights::Weights;
use serde_json::{json, Map, Value};

/// Numbers that describe a picture's size and crop, embedded by SDXL as this many values each. Source: sdxl/unet/config.json.
const TIME_WIDTH: usize = 256;

/// More levels, layers and transformers than any network has; larger numbers in names count for nothing.
const MOST: usize = 32;

/// The keys of a component's config that the shapes of its weights tell: all that differs between networks of one family, such as the depth of
/// their transformers. Empty for parts whose family tells everything, and for a file without the part.
pub fn shape_config(file: &Weights, wanted: Part) -> Map<String, Value> {
    let Ok(weights) = part(file, wanted) else { return Map::new() };
    let shapes = Shapes { names: weights.names(), weights };
    let found = match wanted {
        Part::Unet | Part::UnetEma => shapes.unet(),
        Part::ControlNet => shapes.controlnet(),
        Part::MotionAdapter => shapes.motion(frames(file)),
        _ => None,
    };
    found.unwrap_or_default()
}

/// The weights of one component in diffusers' names.
struct Shapes {
    names: Vec<String>,
    weights: Weights,
}

/// A level on the way down or up: its channels, and for each layer how deep its transformer is.
struct Level {
    width: usize,
    depths: Vec<usize>,
}

impl Shapes {
    fn size(&self, name: &str, axis: usize) -> Option<usize> {
        self.weights.describe(name)?.1.get(axis).copied()
    }

    /// How many numbers from 0 on stand after this start of a name.
    fn count(&self, start: &str) -> usize {
        let index = |name: &String| name.strip_prefix(start).and_then(number).map(|(index, _)| index + 1);
        self.names.iter().filter_map(index).filter(|count| *count <= MOST).max().unwrap_or(0)
    }

    fn levels(&self, side: &str) -> Option<Vec<Level>> {
        let level = |level: usize| {
            let at = format!("{side}.{level}.");
            let depth = |layer: usize| self.count(&format!("{at}attentions.{layer}.transformer_blocks."));
            let width = self.size(&format!("{at}resnets.0.conv1.weight"), 0)?;
            Some(Level { width, depths: (0..self.count(&format!("{at}resnets."))).map(depth).collect() })
        };
        (0..self.count(&format!("{side}."))).map(level).collect()
    }

    fn unet(&self) -> Option<Map<String, Value>> {
        let (down, up) = (self.levels("down_blocks")?, self.levels("up_blocks")?);
        let mut config = self.trunk(&down)?;
        let up: Vec<Vec<usize>> = up.into_iter().map(|level| level.depths).collect();
        config.insert("out_channels".into(), json!(self.size("conv_out.weight", 0)?));
        config.insert("up_block_types".into(), json!(up.iter().map(|depths| kind(depths, "UpBlock2D")).collect::<Vec<_>>()));
        let down: Vec<Vec<usize>> = down.into_iter().map(|level| level.depths).collect();
        config.extend(depths(&down, &up, self.count("mid_block.attentions.0.transformer_blocks.")));
        Some(config)
    }

    fn controlnet(&self) -> Option<Map<String, Value>> {
        let down = self.levels("down_blocks")?;
        let mut config = self.trunk(&down)?;
        let down: Vec<Vec<usize>> = down.into_iter().map(|level| level.depths).collect();
        config.extend(depths(&down, &[], self.count("mid_block.attentions.0.transformer_blocks.")));
        let hint = "controlnet_cond_embedding.";
        let wider = (0..self.count(&format!("{hint}blocks.")) / 2).map(|i| self.size(&format!("{hint}blocks.{}.weight", 2 * i + 1), 0));
        let widths: Option<Vec<usize>> = std::iter::once(self.size(&format!("{hint}conv_in.weight"), 0)).chain(wider).collect();
        config.insert("conditioning_channels".into(), json!(self.size(&format!("{hint}conv_in.weight"), 1)?));
        config.insert("conditioning_embedding_out_channels".into(), json!(widths?));
        config.insert("_class_name".into(), "ControlNetModel".into());
        if let Some(types) = self.size("task_embedding", 0) {
            config.insert("_class_name".into(), "ControlNetUnionModel".into());
            config.insert("num_control_type".into(), json!(types));
            config.insert("num_trans_channel".into(), json!(self.size("task_embedding", 1)?));
            config.insert("num_trans_layer".into(), json!(self.count("transformer_layes."))); // diffusers' own spelling
            config.insert("num_proj_channel".into(), json!(self.size("spatial_ch_projs.weight", 0)?));
        }
        Some(config)
    }

    /// What a UNet and a ControlNet have in common.
    fn trunk(&self, down: &[Level]) -> Option<Map<String, Value>> {
        let layers: Vec<usize> = down.iter().map(|level| level.depths.len()).collect();
        let first = layers.first()?;
        let uniform = layers.iter().all(|count| count == first);
        let mut config = Map::from_iter([
            ("in_channels".to_string(), json!(self.size("conv_in.weight", 1)?)),
            ("block_out_channels".into(), json!(down.iter().map(|level| level.width).collect::<Vec<_>>())),
            ("layers_per_block".into(), if uniform { json!(first) } else { json!(layers) }),
            ("down_block_types".into(), json!(down.iter().map(|level| kind(&level.depths, "DownBlock2D")).collect::<Vec<_>>())),
            ("mid_block_type".into(), json!(self.middle())),
        ]);
        let is_linear = |name: &&String| name.ends_with(".proj_in.weight");
        if let Some(projection) = self.names.iter().find(is_linear).and_then(|name| self.weights.describe(name)) {
            config.insert("use_linear_projection".into(), json!(projection.1.len() == 2));
        }
        if let Some(width) = self.names.iter().find(|name| name.ends_with("attn2.to_k.weight")).and_then(|name| self.size(name, 1)) {
            config.insert("cross_attention_dim".into(), json!(width));
        }
        if let Some(width) = self.size("time_embedding.cond_proj.weight", 1) {
            config.insert("time_cond_proj_dim".into(), json!(width));
        }
        if let Some(width) = self.size("add_embedding.linear_1.weight", 1) {
            config.insert("addition_embed_type".into(), "text_time".into());
            config.insert("addition_time_embed_dim".into(), json!(TIME_WIDTH));
            config.insert("projection_class_embeddings_input_dim".into(), json!(width));
        }
        Some(config)
    }

    fn middle(&self) -> Option<&'static str> {
        match (self.count("mid_block.resnets."), self.count("mid_block.attentions.")) {
            (0, _) => None,
            (_, 0) => Some("UNetMidBlock2D"),
            _ => Some("UNetMidBlock2DCrossAttn"),
        }
    }

    fn motion(&self, frames: Option<usize>) -> Option<Map<String, Value>> {
        let levels = self.count("down_blocks.");
        let width = |level| self.size(&format!("down_blocks.{level}.motion_modules.0.norm.weight"), 0);
        let widths: Option<Vec<usize>> = (0..levels).map(width).collect();
        let mut config = Map::from_iter([
            ("block_out_channels".to_string(), json!(widths?)),
            ("motion_layers_per_block".into(), json!(self.count("down_blocks.0.motion_modules."))),
            ("use_motion_mid_block".into(), json!(self.count("mid_block.motion_modules.") > 0)),
        ]);
        config.extend(frames.map(|frames| ("motion_max_seq_length".to_string(), json!(frames))));
        Some(config)
    }
}

/// The most frames that motion modules have positions for.
fn frames(file: &Weights) -> Option<usize> {
    let names = file.names();
    let positions = names.iter().find(|name| name.ends_with("pos_encoder.pe") || name.ends_with("pos_embed.pe"))?;
    file.describe(positions)?.1.get(1).copied()
}

/// The type of a block by its layers' transformers.
fn kind(depths: &[usize], plain: &str) -> String {
    let cross = if depths.iter().any(|&depth| depth > 0) { "CrossAttn" } else { "" };
    format!("{cross}{plain}")
}

/// Depths of transformers on the way down and up (none for a ControlNet) and in the middle, as briefly as diffusers can say them.
fn depths(down: &[Vec<usize>], up: &[Vec<usize>], middle: usize) -> Vec<(String, Value)> {
    let last = down.len().saturating_sub(1);
    // A level without transformers may tell any depth; that of the last level counts for the middle.
    let brief = |level: usize| match down.get(level).and_then(|depths| depths.first()) {
        Some(&depth) if depth > 0 => depth,
        _ if level == last && middle > 0 => middle,
        _ => 1,
    };
    let per_level: Vec<usize> = (0..down.len()).map(brief).collect();
    let fits = |depths: &Vec<usize>, level: usize| depths.iter().all(|&depth| depth == 0 || Some(&depth) == per_level.get(level));
    let is_brief = down.iter().enumerate().all(|(level, depths)| fits(depths, level))
        && up.iter().enumerate().all(|(at, depths)| last.checked_sub(at).is_some_and(|level| fits(depths, level)));
    let key = "transformer_layers_per_block".to_string();
    if is_brief {
        let same = per_level.iter().all(|depth| Some(depth) == per_level.first());
        return vec![(key, if same { json!(per_level.first()) } else { json!(per_level) })];
    }
    let full = |levels: &[Vec<usize>]| json!(levels.iter().map(|depths| depths.iter().map(|&depth| depth.max(1)).collect()).collect::<Vec<Vec<_>>>());
    let mut found = vec![(key, full(down))];
    if !up.is_empty() {
        found.push((format!("reverse_{}", "transformer_layers_per_block"), full(up)));
    }
    found
}
