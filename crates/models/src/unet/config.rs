use super::block_kind::{DownKind, MidKind, UpKind};
use super::image_conditioning::HINT_CHANNELS;
use crate::blocks::activation_name::activation_name;
use crate::blocks::added_kv_attention::CrossNorm;
use crate::blocks::resnet::TimeShift;
use crate::config::{as_int, brief, ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use nd_kernels::Activation;
use serde_json::{json, Value};

/// How class labels become part of the time embedding (`class_embed_type`, `num_class_embeds`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassEmbed {
    None,
    /// A table of this many rows, indexed by integer labels.
    Table(usize),
    /// Labels are numbers, embedded like timesteps.
    Timestep,
    /// Labels are embeddings already, (B, time embedding width).
    Identity,
    /// Labels are vectors of this width, through two linear layers.
    Projection(usize),
    /// Labels are vectors of this width, through one linear layer.
    SimpleProjection(usize),
}

/// What else is added to the time embedding (`addition_embed_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AdditionEmbed {
    None,
    /// The pooled prompt (`text`), with this many heads.
    Text {
        heads: usize,
    },
    /// SDXL's pooled text embedding and size numbers (`text_time`).
    TextTime {
        time_width: usize,
        projection_width: usize,
    },
    /// An image embedding of this width (`image`).
    Image(usize),
    /// The same, and a picture that becomes further input channels (`image_hint`).
    ImageHint(usize),
}

/// What the cross-attention layers read (`encoder_hid_dim_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ContextKind {
    /// Text of this width.
    Text(usize),
    /// An image embedding of this width, which becomes tokens.
    Image(usize),
}

/// Form of the timestep's embedding (`time_embedding_type`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeKind {
    Positional,
    Fourier,
}

/// The `config.json` of a UNet2DConditionModel; fields bear the keys' names, per-block values are lists in the order of the down blocks.
/// Source: diffusers unet_2d_condition.py `UNet2DConditionModel.__init__`.
#[derive(Clone, Debug)]
pub struct UNetConfig {
    pub sample_size: Value,
    pub in_channels: usize,
    pub out_channels: usize,
    pub center_input_sample: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub(crate) down_block_types: Vec<DownKind>,
    pub(crate) mid_block_type: Option<MidKind>,
    pub(crate) up_block_types: Vec<UpKind>,
    pub only_cross_attention: Vec<bool>,
    pub mid_block_only_cross_attention: bool,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: Vec<usize>,
    pub downsample_padding: usize,
    pub mid_block_scale_factor: f64,
    pub(crate) act_fn: Activation,
    /// `None` leaves out the last normalisation and takes a quarter of the channels, at most 32, inside the mid block.
    pub norm_num_groups: Option<usize>,
    pub norm_eps: f64,
    pub cross_attention_dim: Vec<usize>,
    /// For each block, for each of its layers.
    pub transformer_layers_per_block: Vec<Vec<usize>>,
    /// The same for the up blocks, first up block first.
    pub up_transformer_layers: Vec<Vec<usize>>,
    pub encoder_hid_dim: Option<usize>,
    pub context: ContextKind,
    /// Number of heads in the transformer blocks, width of a head in the others: the key is misnamed in diffusers.
    pub attention_head_dim: Vec<usize>,
    pub class_embed: ClassEmbed,
    pub class_embeddings_concat: bool,
    pub addition_embed: AdditionEmbed,
    pub(crate) resnet_time_scale_shift: TimeShift,
    pub resnet_skip_time_act: bool,
    pub resnet_out_scale_factor: f64,
    pub time_kind: TimeKind,
    pub time_embed_dim: usize,
    pub(crate) time_embedding_act_fn: Option<Activation>,
    pub(crate) timestep_post_act: Option<Activation>,
    pub time_cond_proj_dim: Option<usize>,
    pub conv_in_kernel: usize,
    pub conv_out_kernel: usize,
    pub(crate) cross_attention_norm: CrossNorm,
    pub file: ConfigFile,
}

impl UNetConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        let crossed = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let uncrossed = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];
        let down_block_types: Vec<_> = r.strings("down_block_types", &crossed)?.iter().map(|t| DownKind::parse(t)).collect::<Result<_>>()?;
        let up_block_types: Vec<_> = r.strings("up_block_types", &uncrossed)?.iter().map(|t| UpKind::parse(t)).collect::<Result<_>>()?;
        let blocks = down_block_types.len();
        same_count("up_block_types", up_block_types.len(), blocks)?;
        let block_out_channels = r.ints("block_out_channels", &[320, 640, 1280, 1280], WIDTHS)?;
        same_count("block_out_channels", block_out_channels.len(), blocks)?;
        let mid_block_type = r.opt_string("mid_block_type", Some("UNetMidBlock2DCrossAttn"))?.map(|t| MidKind::parse(&t)).transpose()?;
        let layers_per_block = r.int_per_block("layers_per_block", 2, DEPTHS, blocks)?;
        let (down_layers, up_layers) = transformer_layers(&mut r, &layers_per_block)?;
        refuse_unsupported(&mut r)?;
        let only = r.raw("only_cross_attention", false.into());
        let only_cross_attention = r.bool_per_block("only_cross_attention", false, blocks)?;
        let mid_only = r.opt_bool("mid_block_only_cross_attention")?;
        let (time_kind, time_embed_dim) = time_embedding(&mut r, &block_out_channels)?;
        let cross_attention_dim = r.int_per_block("cross_attention_dim", 1280, WIDTHS, blocks)?;
        let encoder_hid_dim = r.opt_int("encoder_hid_dim", WIDTHS)?;
        let config = Self {
            sample_size: r.raw("sample_size", Value::Null),
            in_channels: r.int("in_channels", 4, WIDTHS)?,
            out_channels: r.int("out_channels", 4, WIDTHS)?,
            center_input_sample: r.bool("center_input_sample", false)?,
            flip_sin_to_cos: r.bool("flip_sin_to_cos", true)?,
            freq_shift: r.float("freq_shift", 0.0)?,
            down_block_types,
            mid_block_type,
            up_block_types,
            only_cross_attention,
            mid_block_only_cross_attention: mid_only.unwrap_or(only == Value::Bool(true)),
            layers_per_block,
            downsample_padding: r.int("downsample_padding", 1, 0..=1)?,
            mid_block_scale_factor: r.positive("mid_block_scale_factor", 1.0)?,
            act_fn: activation_name("act_fn", &r.string("act_fn", "silu")?)?,
            norm_num_groups: norm_groups(&mut r)?,
            norm_eps: r.positive("norm_eps", 1e-5)?,
            context: context(&mut r, encoder_hid_dim, &cross_attention_dim)?,
            cross_attention_dim,
            transformer_layers_per_block: down_layers,
            up_transformer_layers: up_layers,
            encoder_hid_dim,
            attention_head_dim: r.int_per_block("attention_head_dim", 8, WIDTHS, blocks)?,
            class_embed: class_embed(&mut r)?,
            class_embeddings_concat: r.bool("class_embeddings_concat", false)?,
            addition_embed: addition_embed(&mut r)?,
            resnet_time_scale_shift: time_shift(&mut r)?,
            resnet_skip_time_act: r.bool("resnet_skip_time_act", false)?,
            resnet_out_scale_factor: r.positive("resnet_out_scale_factor", 1.0)?,
            time_kind,
            time_embed_dim,
            time_embedding_act_fn: opt_activation(&mut r, "time_embedding_act_fn")?,
            timestep_post_act: opt_activation(&mut r, "timestep_post_act")?,
            time_cond_proj_dim: r.opt_int("time_cond_proj_dim", WIDTHS)?,
            conv_in_kernel: odd_kernel(&mut r, "conv_in_kernel")?,
            conv_out_kernel: odd_kernel(&mut r, "conv_out_kernel")?,
            cross_attention_norm: cross_norm(&mut r)?,
            block_out_channels,
            file: ConfigFile::default(),
        };
        if matches!(config.addition_embed, AdditionEmbed::ImageHint(_)) && config.in_channels <= HINT_CHANNELS {
            return Err(ModelError::config(
                "in_channels",
                format!("more than {HINT_CHANNELS}, because addition_embed_type is image_hint,"),
                config.in_channels,
            ));
        }
        Ok(Self { file: r.finish(), ..config })
    }

    /// Width of the embedding that the blocks see.
    pub(crate) fn block_time_width(&self) -> usize {
        if self.class_embeddings_concat {
            2 * self.time_embed_dim
        } else {
            self.time_embed_dim
        }
    }

    /// Width of `encoder_hidden_states`, or of the image embedding in their place.
    pub fn context_width(&self) -> usize {
        match self.context {
            ContextKind::Text(width) | ContextKind::Image(width) => width,
        }
    }

    /// Channels of the latents that the model is given; a hint brings the rest.
    pub fn sample_channels(&self) -> usize {
        match self.addition_embed {
            AdditionEmbed::ImageHint(_) => self.in_channels - HINT_CHANNELS,
            _ => self.in_channels,
        }
    }
}

pub(crate) fn same_count(key: &str, found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(ModelError::config(key, format!("a list of {wanted} items, as many as down_block_types"), format!("{found} items")))
}

/// Keys whose other values select layers that this library does not have.
pub(crate) fn refuse_unsupported(r: &mut ConfigReader) -> Result<()> {
    r.only("num_attention_heads", Value::Null, &[Value::Null])?;
    r.only("dual_cross_attention", json!(false), &[json!(false)])?;
    r.only("attention_type", json!("default"), &[json!("default")])?;
    r.ignore(&["dropout", "upcast_attention", "use_linear_projection"]);
    Ok(())
}

/// `encoder_hid_dim_type` with its width.
fn context(r: &mut ConfigReader, projected: Option<usize>, own: &[usize]) -> Result<ContextKind> {
    let key = "encoder_hid_dim_type";
    let text = projected.or(own.first().copied()).unwrap_or(0);
    match r.opt_string(key, None)?.as_deref() {
        None | Some("text_proj") => Ok(ContextKind::Text(text)),
        Some("image_proj") => Ok(ContextKind::Image(hid_dim(projected, key)?)),
        Some(other) => Err(ModelError::config(key, "text_proj, image_proj or null", other)),
    }
}

fn hid_dim(given: Option<usize>, because: &str) -> Result<usize> {
    given.ok_or_else(|| ModelError::config("encoder_hid_dim", format!("a number, because {because} is for images,"), "null"))
}

/// Transformer layers for each block, for each of its layers.
type LayersByBlock = Vec<Vec<usize>>;

/// `transformer_layers_per_block` for the down and the up blocks; a number, one per block, or one per layer of each block.
fn transformer_layers(r: &mut ConfigReader, layers_per_block: &[usize]) -> Result<(LayersByBlock, LayersByBlock)> {
    let (key, reverse_key) = ("transformer_layers_per_block", "reverse_transformer_layers_per_block");
    let value = r.raw(key, 1.into());
    let down = layers_by_block(key, &value, layers_per_block)?;
    let up_counts: Vec<usize> = layers_per_block.iter().rev().map(|n| n + 1).collect();
    let up = match r.raw(reverse_key, Value::Null) {
        Value::Null => {
            let nested = value.as_array().is_some_and(|items| items.iter().any(Value::is_array));
            if nested {
                return Err(ModelError::config(reverse_key, "a list, because transformer_layers_per_block is a list of lists,", "null"));
            }
            let reversed = value.as_array().map_or(value.clone(), |items| items.iter().rev().cloned().collect());
            layers_by_block(key, &reversed, &up_counts)?
        }
        reverse => layers_by_block(reverse_key, &reverse, &up_counts)?,
    };
    Ok((down, up))
}

pub(crate) fn layers_by_block(key: &str, value: &Value, layers: &[usize]) -> Result<LayersByBlock> {
    let Some(items) = value.as_array() else {
        let depth = as_int(key, value, &DEPTHS)?;
        return Ok(layers.iter().map(|&n| vec![depth; n]).collect());
    };
    if items.len() != layers.len() {
        return Err(ModelError::config(key, format!("a number or a list of {}", layers.len()), brief(value)));
    }
    let block = |(item, &count): (&Value, &usize)| match item.as_array() {
        None => Ok(vec![as_int(key, item, &DEPTHS)?; count]),
        Some(depths) if depths.len() >= count => depths.iter().map(|d| as_int(key, d, &DEPTHS)).collect(),
        Some(_) => Err(ModelError::config(key, format!("a list of {count} numbers for a block"), brief(item))),
    };
    items.iter().zip(layers).map(block).collect()
}

fn norm_groups(r: &mut ConfigReader) -> Result<Option<usize>> {
    match r.raw("norm_num_groups", 32.into()) {
        Value::Null => Ok(None),
        value => as_int("norm_num_groups", &value, &WIDTHS).map(Some),
    }
}

fn odd_kernel(r: &mut ConfigReader, key: &str) -> Result<usize> {
    let kernel = r.int(key, 3, 1..=15)?;
    if kernel % 2 == 1 {
        return Ok(kernel);
    }
    Err(ModelError::config(key, "an odd number", kernel))
}

fn opt_activation(r: &mut ConfigReader, key: &str) -> Result<Option<Activation>> {
    r.opt_string(key, None)?.map(|name| activation_name(key, &name)).transpose()
}

pub(crate) fn time_shift(r: &mut ConfigReader) -> Result<TimeShift> {
    let key = "resnet_time_scale_shift";
    match r.string(key, "default")?.as_str() {
        "default" => Ok(TimeShift::Default),
        "scale_shift" => Ok(TimeShift::ScaleShift),
        other => Err(ModelError::config(key, "default or scale_shift", other)),
    }
}

fn cross_norm(r: &mut ConfigReader) -> Result<CrossNorm> {
    let key = "cross_attention_norm";
    match r.opt_string(key, None)?.as_deref() {
        None => Ok(CrossNorm::None),
        Some("layer_norm") => Ok(CrossNorm::Layer),
        Some("group_norm") => Ok(CrossNorm::Group),
        Some(other) => Err(ModelError::config(key, "layer_norm, group_norm or null", other)),
    }
}

fn time_embedding(r: &mut ConfigReader, block_out_channels: &[usize]) -> Result<(TimeKind, usize)> {
    let first = block_out_channels.first().copied().unwrap_or(1);
    let width = r.opt_int("time_embedding_dim", WIDTHS)?;
    match r.string("time_embedding_type", "positional")?.as_str() {
        "positional" => Ok((TimeKind::Positional, width.unwrap_or(4 * first))),
        "fourier" => match width.unwrap_or(2 * first) {
            width if width % 2 == 0 => Ok((TimeKind::Fourier, width)),
            width => Err(ModelError::config("time_embedding_dim", "an even number", width)),
        },
        other => Err(ModelError::config("time_embedding_type", "positional or fourier", other)),
    }
}

pub(crate) fn class_embed(r: &mut ConfigReader) -> Result<ClassEmbed> {
    let rows = r.opt_int("num_class_embeds", 1..=10_000_000)?;
    let width = r.opt_int("projection_class_embeddings_input_dim", WIDTHS)?;
    let need = || {
        width
            .ok_or_else(|| ModelError::config("projection_class_embeddings_input_dim", "a number, because class_embed_type is a projection,", "null"))
    };
    match r.opt_string("class_embed_type", None)?.as_deref() {
        None => Ok(rows.map_or(ClassEmbed::None, ClassEmbed::Table)),
        Some("timestep") => Ok(ClassEmbed::Timestep),
        Some("identity") => Ok(ClassEmbed::Identity),
        Some("projection") => Ok(ClassEmbed::Projection(need()?)),
        Some("simple_projection") => Ok(ClassEmbed::SimpleProjection(need()?)),
        Some(other) => Err(ModelError::config("class_embed_type", "timestep, identity, projection, simple_projection or null", other)),
    }
}

pub(crate) fn addition_embed(r: &mut ConfigReader) -> Result<AdditionEmbed> {
    let time_width = r.opt_int("addition_time_embed_dim", WIDTHS)?;
    let heads = r.int("addition_embed_type_num_heads", 64, WIDTHS)?;
    let projection_width = r.opt_int("projection_class_embeddings_input_dim", WIDTHS)?;
    let need =
        |key: &str, value: Option<usize>| value.ok_or_else(|| ModelError::config(key, "a number, because addition_embed_type is text_time,", "null"));
    match r.opt_string("addition_embed_type", None)?.as_deref() {
        None => Ok(AdditionEmbed::None),
        Some("text") => Ok(AdditionEmbed::Text { heads }),
        Some("text_time") => Ok(AdditionEmbed::TextTime {
            time_width: need("addition_time_embed_dim", time_width)?,
            projection_width: need("projection_class_embeddings_input_dim", projection_width)?,
        }),
        Some("image") => Ok(AdditionEmbed::Image(hid_dim(r.opt_int("encoder_hid_dim", WIDTHS)?, "addition_embed_type")?)),
        Some("image_hint") => Ok(AdditionEmbed::ImageHint(hid_dim(r.opt_int("encoder_hid_dim", WIDTHS)?, "addition_embed_type")?)),
        Some(other) => Err(ModelError::config("addition_embed_type", "text, text_time, image, image_hint or null", other)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_empty_config_has_the_python_defaults() {
        let config = UNetConfig::from_json(&json!({})).unwrap();
        assert_eq!(config.block_out_channels, [320, 640, 1280, 1280]);
        assert_eq!(config.time_embed_dim, 1280);
        assert_eq!(config.up_transformer_layers, vec![vec![1; 3]; 4]);
        assert_eq!(config.file.values["cross_attention_dim"], 1280);
    }

    #[test]
    fn unsupported_values_name_key_and_value() {
        let cases = [
            (json!({"dual_cross_attention": true}), "dual_cross_attention"),
            (json!({"down_block_types": ["FancyBlock"]}), "FancyBlock"),
            (json!({"block_out_channels": [320]}), "block_out_channels"),
            (json!({"in_channels": -1}), "-1"),
            (json!({"layers_per_block": 1e12}), "layers_per_block"),
            (json!({"norm_eps": 0}), "norm_eps"),
            (json!({"act_fn": "swiglu"}), "swiglu"),
            (json!({"num_attention_heads": 8}), "num_attention_heads"),
            (json!({"addition_embed_type": "text_time"}), "addition_time_embed_dim"),
        ];
        for (json, text) in cases {
            let error = UNetConfig::from_json(&json).unwrap_err();
            assert_eq!(error.code(), "ERR_CONFIG");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
