use crate::config::{brief, ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use crate::unet::UNetConfig;
use serde_json::{Map, Value};

/// Order of the colours that a ControlNet was trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChannelOrder {
    Rgb,
    Bgr,
}

/// The `config.json` of a ControlNetModel. Source: diffusers controlnet.py `ControlNetModel.__init__`.
#[derive(Clone, Debug)]
pub struct ControlNetConfig {
    /// What it shares with a UNet.
    pub unet: UNetConfig,
    pub conditioning_channels: usize,
    pub conditioning_embedding_out_channels: Vec<usize>,
    pub channel_order: ChannelOrder,
    pub global_pool_conditions: bool,
    pub file: ConfigFile,
}

/// The `config.json` of a ControlNetUnionModel. Source: diffusers controlnet_union.py `ControlNetUnionModel.__init__`.
#[derive(Clone, Debug)]
pub struct UnionConfig {
    pub control: ControlNetConfig,
    pub num_control_type: usize,
    pub num_trans_channel: usize,
    pub num_trans_head: usize,
    pub num_trans_layer: usize,
    pub num_proj_channel: usize,
    pub addition_time_embed_dim: usize,
}

const UNION_KEYS: [&str; 5] = ["num_control_type", "num_trans_channel", "num_trans_head", "num_trans_layer", "num_proj_channel"];
const CONTROL_KEYS: [&str; 4] =
    ["conditioning_channels", "conditioning_embedding_out_channels", "controlnet_conditioning_channel_order", "global_pool_conditions"];

impl ControlNetConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        Self::read(json, &[16, 32, 96, 256])
    }

    fn read(json: &Value, embedding: &[usize]) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let order = r.string("controlnet_conditioning_channel_order", "rgb")?;
        let channel_order = match order.as_str() {
            "rgb" => ChannelOrder::Rgb,
            "bgr" => ChannelOrder::Bgr,
            _ => return Err(ModelError::config("controlnet_conditioning_channel_order", "rgb or bgr", order)),
        };
        let unet = UNetConfig::from_json(&Value::Object(unet_part(json)?))?;
        let conditioning_channels = r.int("conditioning_channels", 3, WIDTHS)?;
        let conditioning_embedding_out_channels = r.ints("conditioning_embedding_out_channels", embedding, WIDTHS)?;
        let global_pool_conditions = r.bool("global_pool_conditions", false)?;
        let mut file = r.finish();
        file.unknown.retain(|key| unet.file.unknown.contains(key) && !UNION_KEYS.contains(&key.as_str()));
        for (key, value) in &unet.file.values {
            file.values.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(Self { unet, conditioning_channels, conditioning_embedding_out_channels, channel_order, global_pool_conditions, file })
    }
}

/// The config of a UNet whose descending half is this ControlNet. `num_attention_heads`, ignored by UNets, wins here over `attention_head_dim`.
fn unet_part(json: &Value) -> Result<Map<String, Value>> {
    let mut map = json.as_object().cloned().ok_or_else(|| ModelError::config("config", "a JSON object", brief(json)))?;
    map.retain(|key, _| !UNION_KEYS.contains(&key.as_str()) && !CONTROL_KEYS.contains(&key.as_str()) && !key.starts_with("encoder_hid"));
    if let Some(types) = map.get("down_block_types").and_then(Value::as_array) {
        let up = vec![Value::from("UpBlock2D"); types.len()];
        map.insert("up_block_types".into(), up.into());
    }
    if let Some(heads) = map.remove("num_attention_heads").filter(|heads| !heads.is_null()) {
        map.insert("attention_head_dim".into(), heads);
    }
    Ok(map)
}

impl UnionConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let control = ControlNetConfig::read(json, &[48, 96, 192, 384])?;
        if control.channel_order != ChannelOrder::Rgb {
            return Err(ModelError::config("controlnet_conditioning_channel_order", "rgb", "bgr"));
        }
        let mut r = ConfigReader::new(json)?;
        let time_width = r.opt_int("addition_time_embed_dim", WIDTHS)?;
        let config = Self {
            num_control_type: r.int("num_control_type", 6, 1..=1024)?,
            num_trans_channel: r.int("num_trans_channel", 320, WIDTHS)?,
            num_trans_head: r.int("num_trans_head", 8, WIDTHS)?,
            num_trans_layer: r.int("num_trans_layer", 1, DEPTHS)?,
            num_proj_channel: r.int("num_proj_channel", 320, WIDTHS)?,
            addition_time_embed_dim: time_width.ok_or_else(|| ModelError::config("addition_time_embed_dim", "a number", "null"))?,
            control,
        };
        let first = config.control.unet.block_out_channels[0];
        for (key, width) in [("num_trans_channel", config.num_trans_channel), ("num_proj_channel", config.num_proj_channel)] {
            if width != first {
                return Err(ModelError::config(key, format!("the first of block_out_channels, {first},"), width));
            }
        }
        if config.num_trans_channel.is_multiple_of(config.num_trans_head) {
            return Ok(config);
        }
        Err(ModelError::config("num_trans_head", format!("a divisor of {}", config.num_trans_channel), config.num_trans_head))
    }
}
