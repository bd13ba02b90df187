use super::block_shape::BlockShape;
use super::config::{AdditionEmbed, ContextKind, UNetConfig};
use super::down_half::{as_image, attention_bias, first_attention, DownHalf};
use super::image_conditioning::{HintBlock, ImageProjection};
use super::input::UNetInput;
use super::mid_block::MidBlock;
use super::up_block::{UpBlock, UpPlace};
use crate::adapters::IpAdapter;
use crate::blocks::conditioning::Conditioning;
use crate::blocks::kv_cache::{AttentionNames, KvCache, Slots};
use crate::blocks::repeated::distinct;
use crate::error::{ModelError, Result};
use crate::load::{load_adaptable, Bias, Builder, ConvShape, LoadContext, LoadReport};
use crate::lora::{Adaptable, Adapter, Component, ModuleIndex};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{nhwc_to_nchw, Conv2d, GroupNorm, Linear};
use std::sync::Arc;

/// Predicts the noise (or what the scheduler's prediction type says) in latents, conditioned on text.
/// Immutable and re-entrant. Source: diffusers unet_2d_condition.py `UNet2DConditionModel`.
pub struct UNet2DConditionModel {
    config: UNetConfig,
    report: LoadReport,
    parts: Parts,
    kv: KvCache,
    adaptable: Arc<Adaptable>,
}

struct Parts {
    down: DownHalf,
    context_projection: Option<ContextProjection>,
    hint: Option<HintBlock>,
    up_blocks: Vec<UpBlock>,
    mid_block: Option<MidBlock>,
    conv_norm_out: Option<GroupNorm>,
    conv_out: Conv2d,
    slots: usize,
    names: AttentionNames,
}

impl UNet2DConditionModel {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys, `ModelError::Cancelled`.
    pub fn load(config: &UNetConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report, origin) = load_adaptable("UNet2DConditionModel", &scope, ctx, |b| Parts::new(b, config))?;
        let adaptable = Arc::new(Adaptable::new(Component::Unet, origin));
        Ok(Self { config: config.clone(), report, kv: KvCache::new(parts.slots), parts, adaptable })
    }

    /// The model as it was loaded, with these adapters and no others; layers that they leave alone are shared. `ctx` gives token and listener only.
    /// Errors: `ModelError::Weights` for tensors that do not fit, `ModelError::Argument` for a block that the model does not have, `ModelError::Cancelled`.
    pub fn with_adapters(&self, adapters: &[Adapter], ctx: LoadContext) -> Result<Self> {
        let (parts, report) = self.adaptable.adapt(Component::Unet, adapters, ctx, |b| Parts::new(b, &self.config))?;
        Ok(Self { config: self.config.clone(), report, kv: KvCache::new(parts.slots), parts, adaptable: self.adaptable.clone() })
    }

    /// The layers by their names in adapter files.
    pub fn modules(&self) -> &ModuleIndex {
        self.adaptable.index()
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Names of the cross-attention layers that image prompts attach to, in the order of down, up and mid blocks.
    pub fn image_layers(&self) -> &[String] {
        &self.parts.names.image
    }

    /// Names of the self-attention layers over the image, in the same order.
    pub fn self_attention_layers(&self) -> &[String] {
        &self.parts.names.own
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Latents (B, in_channels, H, W) -> prediction (B, out_channels, H, W) in the dtype of the latents.
    /// Errors: `ModelError::Shape` and `ModelError::Argument` before work starts, `ModelError::Cancelled` between layers.
    pub fn forward(&self, input: &UNetInput) -> Result<Tensor> {
        let (batch, height, width) = input.check(self.config.sample_channels(), self.config.context)?;
        let parts = &self.parts;
        if let Some(motion) = &input.motion {
            motion.check(batch, &self.config.block_out_channels, &self.config.layers_per_block)?;
        }
        let prepare = |prompt: &_| IpAdapter::prepare(*prompt, batch, parts.names.image.len());
        let image_prompts = input.image_prompts.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let time = parts.down.time(input, batch)?;
        let prompt = input.prompt(self.config.context)?;
        let kv = self.kv.entry(prompt);
        let context = kv.context(|| parts.context(prompt))?;
        let bias = input.encoder_attention_mask.map(attention_bias).transpose()?;
        let cond = Conditioning {
            time: &time,
            context: &context,
            context_bias: bias.as_ref(),
            kv: &kv,
            image_prompts: &image_prompts,
            motion: input.motion,
            perturbed: input.perturbed,
            cancel: input.cancel,
        };

        let mut features = features(input)?;
        let hinted = parts.hint.as_ref().map(|hint| hint.beside(input)).transpose()?;
        let sample = hinted.as_ref().unwrap_or(input.sample);
        let own = sample.narrow(0, 0, distinct([sample, &time.raw])?)?;
        let x = parts.down.start(&own, &self.config)?;
        let (x, mut residuals) = parts.down.forward(x, &cond, &mut features)?;
        if input.is_controlled() {
            add_control(&mut residuals, input.down_block_additional_residuals)?;
        }
        let x = self.middle(x, input, &mut features, &cond)?;
        let x = self.ascend(x, input, &mut residuals, &cond, (height, width))?;

        let x = match &parts.conv_norm_out {
            Some(norm) => norm.forward(&x, Some(self.config.act_fn))?,
            None => x,
        };
        Ok(nhwc_to_nchw(&parts.conv_out.forward(&x)?)?.to_dtype(input.sample.dtype())?)
    }

    fn middle(&self, x: Tensor, input: &UNetInput, features: &mut Vec<Tensor>, cond: &Conditioning) -> Result<Tensor> {
        let mut x = x;
        if let Some(mid) = &self.parts.mid_block {
            x = mid.forward(&x, cond)?;
            if let Some(feature) = features.pop_if(|feature| feature.dims() == x.dims()) {
                x = (x + feature)?;
            }
        }
        match input.mid_block_additional_residual {
            Some(control) if input.is_controlled() => add_image("mid_block_additional_residual", &x, control),
            _ => Ok(x),
        }
    }

    fn ascend(&self, x: Tensor, input: &UNetInput, residuals: &mut Vec<Option<Tensor>>, cond: &Conditioning, size: (usize, usize)) -> Result<Tensor> {
        let blocks = &self.parts.up_blocks;
        let factor = 1usize << (blocks.len() - 1).min(usize::BITS as usize - 1);
        let is_odd = !size.0.is_multiple_of(factor) || !size.1.is_multiple_of(factor);
        let mut x = x;
        for (i, block) in blocks.iter().enumerate() {
            let own = residuals.split_off(residuals.len().saturating_sub(block.residuals()));
            let next = residuals.last().and_then(Option::as_ref).filter(|_| is_odd && i + 1 < blocks.len());
            let size = next.map(|next| Ok::<_, candle_core::Error>((next.dim(1)?, next.dim(2)?))).transpose()?;
            let free_u = input.freeu.and_then(|factors| factors.of_block(i));
            x = block.forward(x, own, cond, size, free_u)?;
        }
        Ok(x)
    }
}

impl Parts {
    fn new(b: &Builder, config: &UNetConfig) -> Result<Self> {
        let slots = Slots::default();
        let channels = &config.block_out_channels;
        let levels = channels.len();
        let down = DownHalf::new(b, config, &slots)?;
        let mut up_blocks = Vec::with_capacity(levels);
        for (index, &kind) in config.up_block_types.iter().enumerate() {
            let level = levels - 1 - index;
            let shape = BlockShape { config, level, head_width: config.attention_head_dim[index], first: first_attention(config, level) };
            let (next, previous) = (channels[level.saturating_sub(1)], channels[(level + 1).min(levels - 1)]);
            let place = UpPlace { kind, inputs: next, outputs: channels[level], previous, is_last: level == 0, index };
            up_blocks.push(UpBlock::new(&b.pp(format!("up_blocks.{index}")), &shape, place, &slots)?);
        }
        let mid_block = DownHalf::mid_block(b, config, &slots)?;
        let norm_out = |groups| b.group_norm("conv_norm_out", channels[0], groups, config.norm_eps);
        Ok(Self {
            down,
            context_projection: ContextProjection::new(b, config)?,
            hint: matches!(config.addition_embed, AdditionEmbed::ImageHint(_))
                .then(|| HintBlock::new(&b.pp("add_embedding.input_hint_block")))
                .transpose()?,
            up_blocks,
            mid_block,
            conv_norm_out: config.norm_num_groups.map(norm_out).transpose()?,
            conv_out: b.conv("conv_out", ConvShape::same(channels[0], config.out_channels, config.conv_out_kernel))?,
            slots: slots.count(),
            names: slots.names(),
        })
    }

    /// The prompt as the attention layers read it.
    fn context(&self, prompt: &Tensor) -> Result<Tensor> {
        let prompt = prompt.to_dtype(DType::F32)?.contiguous()?;
        match &self.context_projection {
            Some(ContextProjection::Text(projection)) => Ok(projection.forward(&prompt)?),
            Some(ContextProjection::Image(projection)) => projection.forward(&prompt),
            None => Ok(prompt),
        }
    }
}

/// What makes the prompt as wide as the attention layers read it (`encoder_hid_proj`).
enum ContextProjection {
    Text(Linear),
    Image(ImageProjection),
}

impl ContextProjection {
    fn new(b: &Builder, config: &UNetConfig) -> Result<Option<Self>> {
        let width = config.cross_attention_dim[0];
        Ok(match (config.context, config.encoder_hid_dim) {
            (ContextKind::Image(image), _) => Some(Self::Image(ImageProjection::new(&b.pp("encoder_hid_proj"), image, width)?)),
            (ContextKind::Text(_), Some(text)) => Some(Self::Text(b.linear("encoder_hid_proj", text, width, Bias::Yes)?)),
            (ContextKind::Text(_), None) => None,
        })
    }
}

/// T2I-Adapter features, last one first; ControlNet residuals without one for the mid block are such features too, as in diffusers.
fn features(input: &UNetInput) -> Result<Vec<Tensor>> {
    let features = match (input.down_intrablock_additional_residuals, input.mid_block_additional_residual) {
        ([], None) => input.down_block_additional_residuals,
        (features, _) => features,
    };
    features.iter().rev().map(as_image).collect()
}

fn add_control(residuals: &mut [Option<Tensor>], control: &[Tensor]) -> Result<()> {
    if control.len() != residuals.len() {
        let received = format!("{} tensors", control.len());
        return Err(ModelError::argument("down_block_additional_residuals", format!("{} tensors", residuals.len()), received));
    }
    for (i, (residual, control)) in residuals.iter_mut().zip(control).enumerate() {
        if let Some(own) = residual {
            *own = add_image(&format!("down_block_additional_residuals[{i}]"), own, control)?;
        }
    }
    Ok(())
}

/// x (B, H, W, C) plus a control residual (B, C, H, W), or (B, C, 1, 1) for all positions.
fn add_image(name: &str, x: &Tensor, control: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    match *control.dims() {
        [b, c, h, w] if (b == batch || b == 1) && c == channels && ((h, w) == (height, width) || (h, w) == (1, 1)) => {}
        _ => return Err(ModelError::shape(name, format!("shape ({batch}, {channels}, {height}, {width})"), control)),
    }
    Ok(x.broadcast_add(&as_image(control)?)?)
}
