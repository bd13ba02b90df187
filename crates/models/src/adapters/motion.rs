use super::temporal::{FrameWindows, TemporalShape, TemporalTransformer};
use crate::config::{ConfigFile, ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use crate::load::{load_adaptable, Builder, LoadContext, LoadReport};
use crate::lora::{Adaptable, Adapter, Component, ModuleIndex};
use crate::unet::layers_by_block;
use crate::weights::WeightScope;
use candle_core::Tensor;
use serde_json::{json, Value};
use std::sync::Arc;

/// The `config.json` of a MotionAdapter (AnimateDiff). Source: diffusers unet_motion_model.py `MotionAdapter.__init__`.
#[derive(Clone, Debug)]
pub struct MotionConfig {
    pub block_out_channels: Vec<usize>,
    pub motion_layers_per_block: Vec<usize>,
    /// For each block, for each of its layers; the up blocks have one layer more.
    down_layers: Vec<Vec<usize>>,
    up_layers: Vec<Vec<usize>>,
    mid_layers: Vec<usize>,
    pub motion_num_attention_heads: Vec<usize>,
    pub motion_norm_num_groups: usize,
    /// The most frames of one call.
    pub motion_max_seq_length: usize,
    pub use_motion_mid_block: bool,
    pub file: ConfigFile,
}

impl MotionConfig {
    /// Reads a config. Errors: `ModelError::Config` for a value that is unsupported or out of range, naming key and value.
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut r = ConfigReader::new(json)?;
        r.only("conv_in_channels", Value::Null, &[Value::Null, json!(0)])?;
        let block_out_channels = r.ints("block_out_channels", &[320, 640, 1280, 1280], WIDTHS)?;
        let blocks = block_out_channels.len();
        let motion_layers_per_block = r.int_per_block("motion_layers_per_block", 2, DEPTHS, blocks)?;
        let key = "motion_transformer_layers_per_block";
        let depths = r.raw(key, 1.into());
        let reversed = depths.as_array().map_or(depths.clone(), |items| items.iter().rev().cloned().collect());
        let up_counts: Vec<usize> = motion_layers_per_block.iter().rev().map(|n| n + 1).collect();
        let mid_count = r.int("motion_mid_block_layers_per_block", 1, DEPTHS)?;
        let config = Self {
            down_layers: layers_by_block(key, &depths, &motion_layers_per_block)?,
            up_layers: layers_by_block(key, &reversed, &up_counts)?,
            mid_layers: r.int_per_block("motion_transformer_layers_per_mid_block", 1, DEPTHS, mid_count)?,
            motion_num_attention_heads: r.int_per_block("motion_num_attention_heads", 8, WIDTHS, blocks)?,
            motion_norm_num_groups: r.int("motion_norm_num_groups", 32, WIDTHS)?,
            motion_max_seq_length: r.int("motion_max_seq_length", 32, 1..=4096)?,
            use_motion_mid_block: r.bool("use_motion_mid_block", true)?,
            block_out_channels,
            motion_layers_per_block,
            file: ConfigFile::default(),
        };
        Ok(Self { file: r.finish(), ..config })
    }
}

/// The motion modules of AnimateDiff, which a UNet runs after each of its layers. Immutable and re-entrant.
/// Source: diffusers unet_motion_model.py `MotionAdapter`, `UNetMotionModel`.
pub struct MotionAdapter {
    config: MotionConfig,
    report: LoadReport,
    parts: Parts,
    adaptable: Arc<Adaptable>,
}

struct Parts {
    down: Vec<Vec<TemporalTransformer>>,
    up: Vec<Vec<TemporalTransformer>>,
    mid: Vec<TemporalTransformer>,
}

impl Parts {
    fn new(b: &Builder, config: &MotionConfig) -> Result<Self> {
        let last = config.block_out_channels.len() - 1;
        let modules = |name: String, level: usize, depths: &[usize]| -> Result<Vec<TemporalTransformer>> {
            let shape = |layers| TemporalShape {
                channels: config.block_out_channels[level],
                heads: config.motion_num_attention_heads[level],
                layers,
                groups: config.motion_norm_num_groups,
                max_frames: config.motion_max_seq_length,
            };
            let module = |(i, &layers)| TemporalTransformer::new(&b.pp(format!("{name}.motion_modules.{i}")), shape(layers));
            depths.iter().enumerate().map(module).collect()
        };
        let down = config.down_layers.iter().zip(&config.motion_layers_per_block).enumerate();
        let up = config.up_layers.iter().zip(config.motion_layers_per_block.iter().rev()).enumerate();
        Ok(Self {
            down: down.map(|(i, (depths, &n))| modules(format!("down_blocks.{i}"), i, &depths[..n])).collect::<Result<_>>()?,
            up: up.map(|(i, (depths, &n))| modules(format!("up_blocks.{i}"), last - i, &depths[..n + 1])).collect::<Result<_>>()?,
            mid: if config.use_motion_mid_block { modules("mid_block".into(), last, &config.mid_layers)? } else { Vec::new() },
        })
    }
}

impl MotionAdapter {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &MotionConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report, origin) = load_adaptable("MotionAdapter", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts, adaptable: Arc::new(Adaptable::new(Component::MotionAdapter, origin)) })
    }

    /// The modules as they were loaded, with these adapters (motion LoRAs) and no others; layers that they leave alone are shared. `ctx` gives token
    /// and listener only. Errors: `ModelError::Weights` for tensors that do not fit, `ModelError::Cancelled`.
    pub fn with_adapters(&self, adapters: &[Adapter], ctx: LoadContext) -> Result<Self> {
        let (parts, report) = self.adaptable.adapt(Component::MotionAdapter, adapters, ctx, |b| Parts::new(b, &self.config))?;
        Ok(Self { config: self.config.clone(), report, parts, adaptable: self.adaptable.clone() })
    }

    /// The layers by their names in adapter files.
    pub fn modules(&self) -> &ModuleIndex {
        self.adaptable.index()
    }

    /// The config that the adapter was loaded with.
    pub fn config(&self) -> &MotionConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }
}

/// A motion adapter in one call, whose batch is B times `frames`, the frames of a video next to each other.
#[derive(Clone, Copy)]
pub struct Motion<'a> {
    pub adapter: &'a MotionAdapter,
    /// From 1 to `motion_max_seq_length`; from the length of a window up where there are windows.
    pub frames: usize,
    /// Windows of long videos.
    pub windows: Option<&'a FrameWindows>,
}

/// The layer after which a motion module runs.
#[derive(Clone, Copy)]
pub(crate) enum MotionPlace {
    Down(usize, usize),
    Up(usize, usize),
    Mid,
}

impl Motion<'_> {
    /// Refuses an adapter for another UNet, too many frames, and a batch that is no multiple of them.
    pub(crate) fn check(&self, batch: usize, channels: &[usize], layers: &[usize]) -> Result<()> {
        let config = &self.adapter.config;
        if config.block_out_channels != channels || config.motion_layers_per_block != layers {
            let received = format!("{:?} with {:?} layers", config.block_out_channels, config.motion_layers_per_block);
            return Err(ModelError::argument("motion_adapter", format!("blocks of {channels:?} channels with {layers:?} layers"), received));
        }
        let most = config.motion_max_seq_length;
        let (least, most) = match self.windows {
            None => (1, most),
            Some(FrameWindows { stride, weights }) => {
                if *stride == 0 || weights.is_empty() || weights.len() > most || weights.iter().any(|weight| weight.is_nan() || *weight <= 0.0) {
                    let received = format!("{} with stride {stride}", weights.len());
                    return Err(ModelError::argument("context_length", format!("windows of 1 to {most} frames with a stride above 0"), received));
                }
                (weights.len(), usize::MAX)
            }
        };
        if !(least..=most).contains(&self.frames) || !batch.is_multiple_of(self.frames) {
            let range = if most == usize::MAX { format!("of at least {least}") } else { format!("from {least} to {most}") };
            return Err(ModelError::argument("frames", format!("a number {range} that divides the batch of {batch}"), self.frames));
        }
        Ok(())
    }

    /// x (B F, H, W, C) after the module of this place; x itself where there is none.
    pub(crate) fn apply(&self, place: MotionPlace, x: Tensor) -> Result<Tensor> {
        let parts = &self.adapter.parts;
        let module = match place {
            MotionPlace::Down(block, layer) => parts.down.get(block).and_then(|modules| modules.get(layer)),
            MotionPlace::Up(block, layer) => parts.up.get(block).and_then(|modules| modules.get(layer)),
            MotionPlace::Mid => parts.mid.first(),
        };
        module.map_or(Ok(x.clone()), |module| module.forward(&x, self.frames, self.windows))
    }
}
