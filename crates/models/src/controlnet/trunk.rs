use super::cond_embedding::CondEmbedding;
use super::config::ControlNetConfig;
use crate::blocks::conditioning::{Conditioning, TimeEmbedding};
use crate::blocks::kv_cache::{KvCache, Slots};
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder};
use crate::unet::down_half::{attention_bias, DownHalf};
use crate::unet::mid_block::MidBlock;
use crate::unet::UNetInput;
use candle_core::{DType, Tensor};
use nd_kernels::{nhwc_to_nchw, Epilogue, Linear};

/// What a ControlNet adds to a UNet, scaled already.
#[derive(Clone, Debug)]
pub struct ControlNetOutput {
    /// For `down_block_additional_residuals`, (B, C, h, w) each.
    pub down_block_res_samples: Vec<Tensor>,
    /// For `mid_block_additional_residual`.
    pub mid_block_res_sample: Tensor,
}

/// How much of the residuals a call takes.
#[derive(Clone, Copy)]
pub(super) struct Strength {
    pub scale: f64,
    /// Weakens the early residuals.
    pub guess_mode: bool,
}

/// What every ControlNet has: the embedding of its images, the copied half of the UNet and its 1x1 convolutions.
pub(super) struct Trunk {
    pub down: DownHalf,
    pub cond_embedding: CondEmbedding,
    mid_block: Option<MidBlock>,
    controlnet_down_blocks: Vec<Linear>,
    controlnet_mid_block: Linear,
    pool: bool,
    kv: KvCache,
}

impl Trunk {
    pub fn new(b: &Builder, config: &ControlNetConfig) -> Result<Self> {
        let slots = Slots::default();
        let channels = &config.unet.block_out_channels;
        let mut widths = vec![channels[0]];
        for (level, &width) in channels.iter().enumerate() {
            let is_last = level + 1 == channels.len();
            widths.extend(vec![width; config.unet.layers_per_block[level] + usize::from(!is_last)]);
        }
        let last = channels[channels.len() - 1];
        let block = |(i, &width): (usize, &usize)| b.linear(&format!("controlnet_down_blocks.{i}"), width, width, Bias::Yes);
        Ok(Self {
            down: DownHalf::new(b, &config.unet, &slots)?,
            cond_embedding: CondEmbedding::new(b, config)?,
            mid_block: DownHalf::mid_block(b, &config.unet, &slots)?,
            controlnet_down_blocks: widths.iter().enumerate().map(block).collect::<Result<_>>()?,
            controlnet_mid_block: b.linear("controlnet_mid_block", last, last, Bias::Yes)?,
            pool: config.global_pool_conditions,
            kv: KvCache::new(slots.count()),
        })
    }

    /// x (B, h, w, C), the latents joined with the control, or its distinct samples alone -> the residuals in the dtype of the latents.
    pub fn forward(&self, x: Tensor, unet: &UNetInput, time: &TimeEmbedding, strength: Strength) -> Result<ControlNetOutput> {
        let kv = self.kv.entry(unet.encoder_hidden_states);
        let context = kv.context(|| Ok(unet.encoder_hidden_states.to_dtype(DType::F32)?.contiguous()?))?;
        let bias = unet.encoder_attention_mask.map(attention_bias).transpose()?;
        let cond = Conditioning {
            time,
            context: &context,
            context_bias: bias.as_ref(),
            kv: &kv,
            image_prompts: &[],
            motion: None,
            perturbed: None,
            cancel: unet.cancel,
        };
        let (x, residuals) = self.down.forward(x, &cond, &mut Vec::new())?;
        let x = match &self.mid_block {
            Some(mid) => mid.forward(&x, &cond)?,
            None => x,
        };
        self.finish(x, &residuals, strength, unet.sample.dtype())
    }

    /// The 1x1 convolutions and the scales.
    fn finish(&self, x: Tensor, residuals: &[Option<Tensor>], strength: Strength, dtype: DType) -> Result<ControlNetOutput> {
        let Strength { scale, guess_mode } = strength;
        let count = self.controlnet_down_blocks.len();
        let factor = |i: usize| scale * if guess_mode && !self.pool { 10f64.powf(i as f64 / count as f64 - 1.0) } else { 1.0 };
        let mut down = Vec::with_capacity(count);
        for (i, (residual, conv)) in residuals.iter().zip(&self.controlnet_down_blocks).enumerate() {
            let residual = residual.as_ref().ok_or_else(|| ModelError::config("down_block_types", "blocks without K in a ControlNet", "K blocks"))?;
            down.push(self.residual(conv, residual, factor(i), dtype)?);
        }
        let mid = self.residual(&self.controlnet_mid_block, &x, factor(count), dtype)?;
        Ok(ControlNetOutput { down_block_res_samples: down, mid_block_res_sample: mid })
    }

    fn residual(&self, conv: &Linear, x: &Tensor, scale: f64, dtype: DType) -> Result<Tensor> {
        let mut out = conv.forward_with(x, &Epilogue { scale: scale as f32, ..Default::default() })?;
        if self.pool {
            out = out.mean_keepdim((1, 2))?;
        }
        Ok(nhwc_to_nchw(&out)?.to_dtype(dtype)?)
    }
}
