use crate::config::{ConfigReader, DEPTHS, WIDTHS};
use crate::error::{ModelError, Result};
use crate::load::{Bias, Builder, ConvShape};
use candle_core::Tensor;
use nd_kernels::{activation, Activation, Conv2d, GroupNorm, Padding};
use serde_json::{json, Value};

/// Added to the variance of weights.
const WEIGHT_EPS: f64 = 1e-8;
/// Added to the variance of activations.
const NORM_EPS: f64 = 1e-5;

/// The part of a hybrid model's config that says how its convolutional backbone is built. Source: transformers configuration_bit.py `BitConfig`.
#[derive(Clone, Debug)]
pub struct BitConfig {
    pub num_channels: usize,
    pub embedding_size: usize,
    pub hidden_sizes: Vec<usize>,
    pub depths: Vec<usize>,
    pub num_groups: usize,
}

impl BitConfig {
    /// Reads `backbone_config`, whose absence means dpt-hybrid's. Errors: `ModelError::Config` for another kind of backbone or of padding.
    pub(super) fn from_json(json: &Value) -> Result<Self> {
        let whole = json!({"global_padding": "same", "layer_type": "bottleneck", "depths": [3, 4, 9], "embedding_dynamic_padding": true});
        let mut r = ConfigReader::new(if json.is_null() { &whole } else { json })?;
        r.only("model_type", json!("bit"), &[json!("bit")])?;
        r.only("layer_type", json!("preactivation"), &[json!("bottleneck")])?;
        r.only("hidden_act", json!("relu"), &[json!("relu")])?;
        r.only("embedding_dynamic_padding", json!(false), &[json!(true)])?;
        r.only("width_factor", json!(1), &[json!(1)])?;
        let padding = r.string("global_padding", "none")?;
        if !padding.eq_ignore_ascii_case("same") {
            return Err(ModelError::config("global_padding", "same", padding));
        }
        let depths = r.ints("depths", &[3, 4, 6, 3], DEPTHS)?;
        let hidden_sizes = r.ints("hidden_sizes", &[256, 512, 1024, 2048], WIDTHS)?;
        let strides = r.int("output_stride", 32, 1..=64)?;
        if depths.len() != 3 || hidden_sizes.len() < 3 || strides < 16 {
            return Err(ModelError::config("depths", "three stages, each half as large as the last,", format!("{depths:?}")));
        }
        Ok(Self {
            num_channels: r.int("num_channels", 3, WIDTHS)?,
            embedding_size: r.int("embedding_size", 64, WIDTHS)?,
            num_groups: r.int("num_groups", 32, WIDTHS)?,
            hidden_sizes: hidden_sizes[..3].iter().map(|&width| multiple_of_8(width as f64)).collect(),
            depths,
        })
    }
}

/// The nearest multiple of 8 that is not much smaller. Source: transformers modeling_bit.py `make_div`.
fn multiple_of_8(width: f64) -> usize {
    let near = ((width + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * width {
        near + 8
    } else {
        near
    }
}

/// A standardised convolution and the norm after it.
struct NormedConv {
    conv: Conv2d,
    norm: GroupNorm,
}

impl NormedConv {
    /// The padding of TensorFlow's SAME for images whose sides are multiples of the stride.
    fn new(b: &Builder, (conv, norm): (&str, &str), shape: ConvShape, groups: usize) -> Result<Self> {
        let all = shape.kernel.saturating_sub(shape.stride);
        let (before, after) = (all / 2, all - all / 2);
        let padding = Padding::Asymmetric { top: before, left: before, bottom: after, right: after };
        Ok(Self {
            conv: b.standardized_conv(conv, shape.padding(padding).bias(Bias::No), WEIGHT_EPS)?,
            norm: b.group_norm(norm, shape.outputs, groups, NORM_EPS)?,
        })
    }

    fn forward(&self, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        Ok(self.norm.forward(&self.conv.forward(x)?, activation)?)
    }
}

/// Source: transformers modeling_bit.py `BitBottleneckLayer`.
struct Bottleneck {
    downsample: Option<NormedConv>,
    convs: [NormedConv; 3],
}

impl Bottleneck {
    fn new(b: &Builder, (inputs, outputs): (usize, usize), stride: usize, first: bool, groups: usize) -> Result<Self> {
        let inner = multiple_of_8(outputs as f64 * 0.25);
        let shape = |inputs, outputs, kernel| ConvShape::same(inputs, outputs, kernel);
        let down = || NormedConv::new(&b.pp("downsample"), ("conv", "norm"), shape(inputs, outputs, 1).stride(stride), groups);
        Ok(Self {
            downsample: first.then(down).transpose()?,
            convs: [
                NormedConv::new(b, ("conv1", "norm1"), shape(inputs, inner, 1), groups)?,
                NormedConv::new(b, ("conv2", "norm2"), shape(inner, inner, 3).stride(stride), groups)?,
                NormedConv::new(b, ("conv3", "norm3"), shape(inner, outputs, 1), groups)?,
            ],
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second, third] = &self.convs;
        let shortcut = self.downsample.as_ref().map_or_else(|| Ok(x.clone()), |down| down.forward(x, None))?;
        let inner = second.forward(&first.forward(x, Some(Activation::Relu))?, Some(Activation::Relu))?;
        Ok(activation(&(third.forward(&inner, None)? + shortcut)?, Activation::Relu)?)
    }
}

/// The convolutional network before the transformer of hybrid models. Source: transformers modeling_bit.py `BitBackbone`; arXiv:1912.11370.
pub(super) struct Bit {
    stem: NormedConv,
    stages: Vec<Vec<Bottleneck>>,
}

impl Bit {
    pub fn new(b: &Builder, config: &BitConfig) -> Result<Self> {
        let shape = ConvShape::same(config.num_channels, config.embedding_size, 7).stride(2);
        let stem = NormedConv::new(&b.pp("embedder"), ("convolution", "norm"), shape, config.num_groups)?;
        let mut inputs = config.embedding_size;
        let mut stages = Vec::with_capacity(config.depths.len());
        for (i, (&depth, &width)) in config.depths.iter().zip(&config.hidden_sizes).enumerate() {
            let layer = |n: usize| {
                let (from, stride) = if n == 0 { (inputs, if i == 0 { 1 } else { 2 }) } else { (width, 1) };
                Bottleneck::new(&b.pp(format!("encoder.stages.{i}.layers.{n}")), (from, width), stride, n == 0, config.num_groups)
            };
            stages.push((0..depth).map(layer).collect::<Result<_>>()?);
            inputs = width;
        }
        Ok(Self { stem, stages })
    }

    /// Pixels (B, H, W, C), H and W multiples of 16 -> the maps of the stages, 4, 8 and 16 times as small.
    pub fn forward(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let mut x = halved_by_largest(&self.stem.forward(pixels, Some(Activation::Relu))?)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            for layer in stage {
                x = layer.forward(&x)?;
            }
            maps.push(x.clone());
        }
        Ok(maps)
    }
}

/// The largest of 3 x 3 positions at every second one, with zeros after the last row and column: (B, 2 h, 2 w, C) -> (B, h, w, C).
fn halved_by_largest(x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for dim in [1, 2] {
        let half = x.dim(dim)? / 2;
        let pairs = x.pad_with_zeros(dim, 0, 2)?;
        let mut shape = pairs.dims().to_vec();
        shape.splice(dim..=dim, [half + 1, 2]);
        let pairs = pairs.reshape(shape)?;
        let (even, odd) = (pairs.narrow(dim + 1, 0, 1)?.squeeze(dim + 1)?, pairs.narrow(dim + 1, 1, 1)?.squeeze(dim + 1)?);
        x = even.narrow(dim, 0, half)?.maximum(&odd.narrow(dim, 0, half)?)?.maximum(&even.narrow(dim, 1, half)?)?.contiguous()?;
    }
    Ok(x)
}
