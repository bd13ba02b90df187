use super::config::{ChannelOrder, ControlNetConfig};
use super::trunk::{ControlNetOutput, Strength, Trunk};
use crate::blocks::repeated::distinct;
use crate::error::{ModelError, Result};
use crate::load::{load, LoadContext, LoadReport};
use crate::unet::down_half::as_image;
use crate::unet::UNetInput;
use crate::weights::WeightScope;
use candle_core::Tensor;

/// Arguments of a ControlNet besides those that it shares with the UNet.
pub struct ControlNetInput<'a> {
    /// Latents, timesteps, text and SDXL's conditions, as the UNet gets them.
    pub unet: UNetInput<'a>,
    /// Control image (B, conditioning_channels, H, W) in [0, 1], RGB.
    pub controlnet_cond: &'a Tensor,
    /// Multiplies the residuals; default 1.
    pub conditioning_scale: f64,
    /// Weakens the early residuals from 1 down to 0.1; default off.
    pub guess_mode: bool,
}

/// A ControlNet for SD 1.x, 2.x and SDXL. Immutable and re-entrant. Source: diffusers controlnet.py `ControlNetModel`.
pub struct ControlNetModel {
    config: ControlNetConfig,
    report: LoadReport,
    trunk: Trunk,
}

impl ControlNetModel {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &ControlNetConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (trunk, report) = load("ControlNetModel", &scope, ctx, |b| Trunk::new(b, config))?;
        Ok(Self { config: config.clone(), report, trunk })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The residuals for the UNet. Errors: `ModelError::Shape` and `ModelError::Argument` before work starts, `ModelError::Cancelled`.
    pub fn forward(&self, input: &ControlNetInput) -> Result<ControlNetOutput> {
        let unet = &input.unet;
        let (batch, height, width) = unet.check(self.config.unet.in_channels, self.config.unet.context)?;
        let control = self.control_image(input.controlnet_cond, (batch, height, width))?;
        if !input.conditioning_scale.is_finite() {
            return Err(ModelError::argument("conditioning_scale", "a finite number", input.conditioning_scale));
        }
        let trunk = &self.trunk;
        let time = trunk.down.time(unet, batch)?;
        let own = distinct([unet.sample, &control, &time.raw])?;
        let x = trunk.down.start(&unet.sample.narrow(0, 0, own)?, &self.config.unet)?;
        let x = trunk.cond_embedding.forward(&control.narrow(0, 0, own)?, Some(&x))?;
        trunk.forward(x, unet, &time, Strength { scale: input.conditioning_scale, guess_mode: input.guess_mode })
    }

    fn control_image(&self, image: &Tensor, latent: (usize, usize, usize)) -> Result<Tensor> {
        let image = check_control(image, "controlnet_cond", self.config.conditioning_channels, latent, self.trunk.cond_embedding.factor())?;
        match self.config.channel_order {
            ChannelOrder::Rgb => Ok(image),
            ChannelOrder::Bgr => {
                let order: Vec<u32> = (0..self.config.conditioning_channels as u32).rev().collect();
                Ok(image.index_select(&Tensor::new(order, image.device())?, 3)?)
            }
        }
    }
}

/// A control image (B, C, H, W) that becomes exactly the size of the latents -> (B, H, W, C).
pub(super) fn check_control(image: &Tensor, name: &str, channels: usize, latent: (usize, usize, usize), factor: usize) -> Result<Tensor> {
    let (batch, height, width) = latent;
    let (wanted_h, wanted_w) = (height * factor, width * factor);
    match *image.dims() {
        [b, c, h, w] if b == batch && c == channels && h.div_ceil(factor) == height && w.div_ceil(factor) == width => as_image(image),
        _ => Err(ModelError::shape(name, format!("shape ({batch}, {channels}, {wanted_h}, {wanted_w})"), image)),
    }
}
