use super::bilinear::{bilinear, Align};
use super::bit::Bit;
use super::config::DptConfig;
use super::fusion::Fusion;
use super::reassemble::Reassemble;
use crate::cancel::CancelToken;
use crate::clip::{ClipLayer, LayerNames};
use crate::error::{ModelError, Result};
use crate::load::{load, Bias, Builder, ConvShape, LoadContext, LoadReport};
use crate::weights::WeightScope;
use candle_core::{DType, Tensor};
use nd_kernels::{nchw_to_nhwc, Activation, Conv2d, Epilogue, LayerNorm, Mask, Padding};

const LAYER: LayerNames = LayerNames {
    norm1: "layernorm_before",
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    out: "attention.output.dense",
    norm2: "layernorm_after",
    inner: "intermediate.dense",
    outer: "output.dense",
};

/// Estimates the depth of each pixel, relative and inverse: near is large. Immutable and re-entrant.
/// Source: transformers modeling_dpt.py `DPTForDepthEstimation`; arXiv:2103.13413.
pub struct DptForDepthEstimation {
    config: DptConfig,
    report: LoadReport,
    parts: Parts,
}

struct Parts {
    class: Tensor,
    positions: Tensor,
    patches: Patches,
    layers: Vec<ClipLayer>,
    /// In every checkpoint, and unused for depth.
    _norm: LayerNorm,
    reassemble: Vec<Reassemble>,
    fusion: Vec<Fusion>,
    head: [Conv2d; 3],
}

/// What makes tokens of a picture.
enum Patches {
    Plain(Conv2d),
    /// The convolutional network whose last map becomes tokens.
    Hybrid(Bit, Conv2d),
}

impl Patches {
    fn new(at: &Builder, config: &DptConfig) -> Result<Self> {
        let (width, patch) = (config.transformer.hidden_size, config.patch_size);
        match &config.backbone {
            Some(bit) => {
                let projection = ConvShape::same(bit.hidden_sizes[2], width, 1);
                Ok(Self::Hybrid(Bit::new(&at.pp("backbone.bit"), bit)?, at.conv("projection", projection)?))
            }
            None => {
                let shape = ConvShape::same(config.num_channels, width, patch).stride(patch).padding(Padding::Same(0));
                Ok(Self::Plain(at.conv("patch_embeddings.projection", shape)?))
            }
        }
    }

    /// Pixels (B, H, W, C) -> tokens (B, N, width), and the larger maps of a hybrid model.
    fn forward(&self, pixels: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        match self {
            Self::Plain(conv) => Ok((conv.forward(pixels)?.flatten(1, 2)?, Vec::new())),
            Self::Hybrid(bit, projection) => {
                let mut maps = bit.forward(pixels)?;
                let last = maps.pop().ok_or_else(|| ModelError::config("depths", "three stages", 0))?;
                Ok((projection.forward(&last)?.flatten(1, 2)?, maps))
            }
        }
    }
}

impl Parts {
    fn new(b: &Builder, config: &DptConfig) -> Result<Self> {
        let (width, side) = (config.transformer.hidden_size, config.image_size / config.patch_size);
        let at = b.pp("dpt.embeddings");
        let bias = if config.qkv_bias { Bias::Yes } else { Bias::No };
        let layer = |i| ClipLayer::named(&b.pp(format!("dpt.encoder.layer.{i}")), &config.transformer, &LAYER, bias);
        let neck = b.pp("neck");
        let maps = config.neck_hidden_sizes.len();
        let fused = config.fusion_hidden_size;
        Ok(Self {
            class: at.tensor_f32("cls_token", &[1, 1, width])?,
            positions: at.tensor_f32("position_embeddings", &[1, side * side + 1, width])?,
            patches: Patches::new(&at, config)?,
            layers: (0..config.transformer.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            _norm: b.layer_norm("dpt.layernorm", width, config.transformer.layer_norm_eps)?,
            reassemble: (0..maps).map(|i| Reassemble::new(&neck, config, i)).collect::<Result<_>>()?,
            fusion: (0..maps).map(|i| Fusion::new(&neck.pp(format!("fusion_stage.layers.{i}")), config)).collect::<Result<_>>()?,
            head: [
                b.conv("head.head.0", ConvShape::same(fused, fused / 2, 3))?,
                b.conv("head.head.2", ConvShape::same(fused / 2, 32, 3))?,
                b.conv("head.head.4", ConvShape::same(32, 1, 1))?,
            ],
        })
    }
}

impl DptForDepthEstimation {
    /// Loads the weights that the config asks for. Errors: `ModelError::Weights` naming missing and mis-shaped keys.
    pub fn load(config: &DptConfig, scope: WeightScope, ctx: &LoadContext) -> Result<Self> {
        let (parts, report) = load("DPTForDepthEstimation", &scope, ctx, |b| Parts::new(b, config))?;
        Ok(Self { config: config.clone(), report, parts })
    }

    /// The config that the model was loaded with.
    pub fn config(&self) -> &DptConfig {
        &self.config
    }

    /// Unexpected keys and sizes found while loading.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Normalised pixels (B, channels, H, W), H and W multiples of the patch size -> depth (B, H, W) of `2^maps / patch_size` times that size.
    pub fn forward(&self, pixel_values: &Tensor, cancel: &CancelToken) -> Result<Tensor> {
        let (channels, patch) = (self.config.num_channels, self.config.patch_size);
        let grid = match *pixel_values.dims() {
            [b, c, h, w] if b * h * w > 0 && c == channels && h.is_multiple_of(patch) && w.is_multiple_of(patch) => (h / patch, w / patch),
            _ => return Err(ModelError::shape("pixel_values", format!("shape (B, {channels}, H, W), H and W multiples of {patch}"), pixel_values)),
        };
        let maps = self.features(pixel_values, grid, cancel)?;
        let mut fused: Option<Tensor> = None;
        for (layer, map) in self.parts.fusion.iter().zip(maps.iter().rev()) {
            cancel.check()?;
            fused = Some(layer.forward(fused.as_ref(), map)?);
        }
        let x = fused.ok_or_else(|| ModelError::config("neck_hidden_sizes", "at least one feature map", 0))?;
        let [first, second, third] = &self.parts.head;
        let x = first.forward(&x)?;
        let x = bilinear(&x, (2 * x.dim(1)?, 2 * x.dim(2)?), Align::Corners)?;
        let relu = Epilogue { activation: Some(Activation::Relu), ..Default::default() };
        Ok(third.forward_with(&second.forward_with(&x, &relu)?, &relu)?.squeeze(3)?)
    }

    fn features(&self, pixel_values: &Tensor, grid: (usize, usize), cancel: &CancelToken) -> Result<Vec<Tensor>> {
        let pixels = nchw_to_nhwc(&pixel_values.to_dtype(DType::F32)?.contiguous()?)?;
        let (patches, larger) = self.parts.patches.forward(&pixels)?;
        let (batch, _, width) = patches.dims3()?;
        let class = self.parts.class.broadcast_as((batch, 1, width))?.contiguous()?;
        let mut x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions(grid)?)?;
        let mut maps = Vec::with_capacity(self.parts.reassemble.len());
        for (stage, map) in self.parts.reassemble.iter().zip(&larger) {
            maps.push(stage.keep(map)?);
        }
        for (i, layer) in self.parts.layers.iter().enumerate() {
            cancel.check()?;
            x = layer.forward(&x, Mask::None)?;
            let place = self.config.backbone_out_indices.iter().position(|&index| index == i);
            if let Some(place) = place.filter(|&place| place >= larger.len()) {
                maps.push(self.parts.reassemble[place].forward(&x, grid)?);
            }
        }
        Ok(maps)
    }

    /// The learned positions, interpolated to another grid of patches.
    fn positions(&self, (rows, columns): (usize, usize)) -> Result<Tensor> {
        let (_, all, width) = self.parts.positions.dims3()?;
        let side = self.config.image_size / self.config.patch_size;
        let square = self.parts.positions.narrow(1, 1, all - 1)?.contiguous()?.reshape((1, side, side, width))?;
        let resized = bilinear(&square, (rows, columns), Align::Edges)?.reshape((1, rows * columns, width))?;
        Ok(Tensor::cat(&[&self.parts.positions.narrow(1, 0, 1)?, &resized], 1)?)
    }
}
