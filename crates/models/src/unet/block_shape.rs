use super::config::UNetConfig;
use super::layer::{Layer, LayerAttention, LayerResnet};
use crate::blocks::added_kv_attention::{AddedKvAttention, AddedKvShape};
use crate::blocks::k_attention::{KAttention, KAttentionShape};
use crate::blocks::k_resnet::{KResnet, KResnetShape};
use crate::blocks::kv_cache::Slots;
use crate::blocks::resnet::{Resample, ResnetBlock, ResnetShape};
use crate::blocks::transformer::{FirstAttention, Transformer2D, TransformerShape};
use crate::error::{ModelError, Result};
use crate::load::Builder;

/// Channels per group in the K-blocks. Source: diffusers unet_2d_blocks.py `KDownBlock2D`, `resnet_group_size`.
const K_GROUP_SIZE: usize = 32;

/// What the layers of one block have in common; `level` counts as the down blocks do.
pub(crate) struct BlockShape<'a> {
    pub config: &'a UNetConfig,
    pub level: usize,
    /// Width of a head in simple and K-blocks; diffusers does not reverse this list for the up blocks.
    pub head_width: usize,
    pub first: FirstAttention,
}

impl BlockShape<'_> {
    pub fn groups(&self) -> Result<usize> {
        self.config.norm_num_groups.ok_or_else(|| ModelError::config("norm_num_groups", "a number for blocks of this type", "null"))
    }

    pub fn resnet(&self, inputs: usize, outputs: usize) -> Result<ResnetShape> {
        let config = self.config;
        Ok(ResnetShape {
            inputs,
            outputs,
            time_width: Some(config.block_time_width()),
            time_shift: config.resnet_time_scale_shift,
            skip_time_act: false,
            groups: self.groups()?,
            eps: config.norm_eps,
            activation: config.act_fn,
            output_scale: 1.0,
            resample: Resample::Keep,
        })
    }

    /// The resnets of blocks that take `resnet_skip_time_act` and `resnet_out_scale_factor`.
    pub fn simple_resnet(&self, inputs: usize, outputs: usize) -> Result<ResnetShape> {
        let (skip_time_act, output_scale) = (self.config.resnet_skip_time_act, self.config.resnet_out_scale_factor);
        Ok(ResnetShape { skip_time_act, output_scale, ..self.resnet(inputs, outputs)? })
    }

    pub fn plain_layer(&self, b: &Builder, index: usize, shape: ResnetShape) -> Result<Layer> {
        let resnet = ResnetBlock::new(&b.pp(format!("resnets.{index}")), shape)?;
        Ok(Layer { resnet: LayerResnet::Plain(resnet), attention: None })
    }

    pub fn transformer(&self, b: &Builder, index: usize, channels: usize, layers: usize, slots: &Slots) -> Result<LayerAttention> {
        let config = self.config;
        let shape = TransformerShape {
            channels,
            heads: config.attention_head_dim[self.level],
            layers,
            context_width: config.cross_attention_dim[self.level],
            groups: self.groups()?,
            first: self.first,
        };
        Ok(LayerAttention::Transformer(Box::new(Transformer2D::new(&b.pp(format!("attentions.{index}")), shape, slots)?)))
    }

    pub fn added_kv(&self, b: &Builder, index: usize, channels: usize, slots: &Slots) -> Result<LayerAttention> {
        let shape = AddedKvShape {
            channels,
            head_width: self.head_width,
            context_width: self.config.cross_attention_dim[self.level],
            groups: self.groups()?,
            only_cross: self.first == FirstAttention::Prompt,
            cross_norm: self.config.cross_attention_norm,
        };
        Ok(LayerAttention::AddedKv(Box::new(AddedKvAttention::new(&b.pp(format!("attentions.{index}")), shape, slots)?)))
    }

    pub fn k_resnet(&self, b: &Builder, index: usize, inputs: usize, hidden: usize, outputs: usize) -> Result<LayerResnet> {
        for channels in [inputs, hidden, outputs] {
            if channels % K_GROUP_SIZE != 0 {
                return Err(ModelError::config("block_out_channels", format!("multiples of {K_GROUP_SIZE} for K-blocks"), channels));
            }
        }
        let config = self.config;
        let (time_width, eps, activation) = (config.block_time_width(), config.norm_eps, config.act_fn);
        let shape = KResnetShape { inputs, hidden, outputs, time_width, group_size: K_GROUP_SIZE, eps, activation };
        Ok(LayerResnet::K(KResnet::new(&b.pp(format!("resnets.{index}")), shape)?))
    }

    pub fn k_attention(&self, b: &Builder, index: usize, channels: usize, with_self_attention: bool, slots: &Slots) -> Result<LayerAttention> {
        let shape = KAttentionShape {
            channels,
            head_width: self.head_width,
            context_width: self.config.cross_attention_dim[self.level],
            time_width: self.config.block_time_width(),
            group_size: K_GROUP_SIZE,
            with_self_attention,
        };
        Ok(LayerAttention::K(Box::new(KAttention::new(&b.pp(format!("attentions.{index}")), shape, slots)?)))
    }
}
