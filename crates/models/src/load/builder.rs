use super::found::Found;
use super::shape::{Bias, ConvShape};
use super::{Mode, Reuse, Shared, MOST_KEYS};
use crate::error::{ModelError, Result};
use candle_core::{DType, Device, Tensor};
use nd_kernels::{Conv2d, Conv2dConfig, Geglu, GroupNorm, Heads, LayerNorm, Linear, Storage};

/// Builds the layers of a model from checkpoint keys.
#[derive(Clone)]
pub(crate) struct Builder<'a> {
    shared: &'a Shared<'a>,
    prefix: String,
    /// How linear layers and convolutions are stored here.
    products: Storage,
}

impl<'a> Builder<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, prefix: &str) -> Self {
        Self { shared, prefix: prefix.to_owned(), products: shared.ctx.dtype.float().into() }
    }
}

impl Builder<'_> {
    /// The builder of a submodule, e.g. `pp("resnets.0")`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// For a submodule whose products may be of bytes where the load asks for it: those that see every position of an image.
    pub fn in_bytes(&self) -> Self {
        Self { products: self.shared.ctx.dtype, ..self.clone() }
    }

    /// For layers inside such a submodule that stay floats.
    pub fn in_floats(&self) -> Self {
        Self { products: self.shared.ctx.dtype.float().into(), ..self.clone() }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.shared.weights.describe(&self.key(name)).is_some()
    }

    /// The first of these submodules that has a weight, the first of all when none has.
    pub fn either<'n>(&self, names: &[&'n str]) -> &'n str {
        let found = names.iter().find(|name| self.contains(&format!("{name}.weight")));
        found.or(names.first()).copied().unwrap_or("")
    }

    /// The submodule that this builder builds, e.g. `mid_block.attentions.0`.
    pub fn name(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    pub fn device(&self) -> &Device {
        &self.shared.ctx.device
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A tensor of one of the given shapes, in the dtype of the file; a stand-in with one value while only headers are checked.
    pub fn tensor(&self, name: &str, shapes: &[&[usize]]) -> Result<Tensor> {
        self.shared.ctx.cancel.check()?;
        let key = self.key(name);
        let rank = shapes.first().map_or(0, |shape| shape.len());
        match self.shared.mode {
            Mode::Check => {
                self.note(key, shapes)?;
                Ok(Tensor::zeros(vec![1; rank], DType::F32, &Device::Cpu)?)
            }
            Mode::Read => {
                let tensor = self.shared.weights.read(&key, self.device())?;
                self.advance(&key);
                match self.shared.changes(&key) {
                    Some(changes) => changes.apply(&key, tensor),
                    None => Ok(tensor),
                }
            }
        }
    }

    /// A tensor of one of the given shapes that a layer is packed from: left where it lies, in a mapped file, if it can be.
    fn weight(&self, name: &str, shapes: &[&[usize]]) -> Result<Found<'_>> {
        if self.shared.mode == Mode::Read && self.device().is_cpu() {
            self.shared.ctx.cancel.check()?;
            let key = self.key(name);
            let weights = self.shared.weights;
            let products = self.shared.changes(&key).map_or(Ok(Some(Vec::new())), |changes| changes.products(&key))?;
            if let Some(products) = products {
                let found = Found::in_file(weights, &key).map_or_else(|| weights.read(&key, self.device()).map(Found::Tensor), Ok)?;
                self.advance(&key);
                return Ok(found.changed(products));
            }
        }
        self.tensor(name, shapes).map(Found::Tensor)
    }

    fn note(&self, key: String, shapes: &[&[usize]]) -> Result<()> {
        let mut log = self.shared.log();
        if log.used.len() >= MOST_KEYS {
            return Err(ModelError::config("the numbers of layers", format!("a model of at most {MOST_KEYS} weights"), "more"));
        }
        if let Some(shape) = shapes.first() {
            self.shared.weights.want(&key, shape);
        }
        match self.shared.weights.describe(&key) {
            None => log.missing.push(key.clone()),
            Some((element, found)) => {
                let count = found.iter().map(|&d| d as u64).product::<u64>();
                log.parameters += count;
                log.bytes += count * element.bytes() as u64;
                if !element.is_float() {
                    log.misfits.push(format!("{key} (expected floats, found {})", element.name()));
                } else if !shapes.contains(&found.as_slice()) {
                    log.misfits.push(format!("{key} (expected {:?}, found {found:?})", shapes.first().unwrap_or(&&[][..])));
                }
            }
        }
        log.used.insert(key);
        Ok(())
    }

    fn advance(&self, key: &str) {
        let Some((element, shape)) = self.shared.weights.describe(key) else { return };
        let mut log = self.shared.log();
        log.bytes += shape.iter().product::<usize>() as u64 * element.bytes() as u64;
        let done = log.bytes.min(self.shared.total);
        drop(log);
        if let Some(progress) = &self.shared.ctx.progress {
            progress(done, self.shared.total);
        }
    }

    /// The layer that reads these keys: built, or shared with the model that this one is made from.
    fn layer<T: Clone + Send + Sync + 'static>(&self, keys: &[&str], build: impl FnOnce() -> Result<T>) -> Result<T> {
        let place = || self.key(keys.first().unwrap_or(&""));
        if self.shared.mode == Mode::Check {
            return build();
        }
        match self.shared.reuse {
            Reuse::Nothing => build(),
            Reuse::Keep(layers) => {
                let layer = build()?;
                layers.put(place(), &layer);
                Ok(layer)
            }
            Reuse::Take(_, changes) if keys.iter().any(|key| changes.touch(&self.key(key))) => build(),
            Reuse::Take(layers, _) => layers.get(&place()).map_or_else(build, Ok),
        }
    }

    /// A tensor kept in f32: norms, embeddings that are added, learned vectors.
    pub fn tensor_f32(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.layer(&[name], || Ok(self.tensor(name, &[shape])?.to_dtype(DType::F32)?))
    }

    /// A table of rows kept in the storage dtype.
    pub fn table(&self, name: &str, rows: usize, width: usize) -> Result<Tensor> {
        self.layer(&[name], || Ok(self.tensor(name, &[&[rows, width]])?.to_dtype(self.shared.ctx.dtype.float())?))
    }

    fn bias(&self, bias: Bias, width: usize) -> Result<Option<Tensor>> {
        match bias {
            Bias::Yes => self.tensor("bias", &[&[width]]).map(Some),
            Bias::No => Ok(None),
        }
    }

    /// A linear layer; old checkpoints store some as 1x1 convolutions.
    pub fn linear(&self, name: &str, inputs: usize, outputs: usize, bias: Bias) -> Result<Linear> {
        let at = self.pp(name);
        at.layer(&["weight", "bias"], || {
            let weight = at.weight("weight", &[&[outputs, inputs], &[outputs, inputs, 1, 1]])?;
            let bias = at.bias(bias, outputs)?;
            Ok(Linear::new(&weight, bias.as_ref(), self.products)?)
        })
    }

    /// A linear layer whose (weight, bias) have names of their own.
    pub fn linear_of(&self, (weight, bias): (&str, &str), inputs: usize, outputs: usize) -> Result<Linear> {
        self.layer(&[weight, bias], || {
            let weight = self.weight(weight, &[&[outputs, inputs]])?;
            let bias = self.tensor(bias, &[&[outputs]])?;
            Ok(Linear::new(&weight, Some(&bias), self.products)?)
        })
    }

    /// GEGLU's projection to two halves of `inner`.
    pub fn geglu(&self, name: &str, inputs: usize, inner: usize) -> Result<Geglu> {
        let at = self.pp(name);
        at.layer(&["weight", "bias"], || {
            let mut weight = at.weight("weight", &[&[2 * inner, inputs]])?;
            let mut bias = at.tensor("bias", &[&[2 * inner]])?;
            if let (Mode::Check, Found::Tensor(one)) = (self.shared.mode, &weight) {
                (weight, bias) = (Found::Tensor(one.repeat((2, 1))?), bias.repeat(2)?);
            }
            Ok(Geglu::new(&weight, Some(&bias), self.products)?)
        })
    }

    pub fn conv(&self, name: &str, shape: ConvShape) -> Result<Conv2d> {
        let at = self.pp(name);
        let ConvShape { inputs, outputs, kernel, stride, padding, bias } = shape;
        at.layer(&["weight", "bias"], || {
            let weight = at.weight("weight", &[&[outputs, inputs, kernel, kernel]])?;
            let bias = at.bias(bias, outputs)?;
            Ok(Conv2d::new(&weight, bias.as_ref(), Conv2dConfig { stride, padding }, self.products)?)
        })
    }

    /// A convolution whose weights are brought to mean 0 and variance 1 for each output, without bias (weight standardisation, arXiv:1903.10520).
    pub fn standardized_conv(&self, name: &str, shape: ConvShape, eps: f64) -> Result<Conv2d> {
        let at = self.pp(name);
        let ConvShape { inputs, outputs, kernel, stride, padding, .. } = shape;
        at.layer(&["weight"], || {
            let weight = at.tensor("weight", &[&[outputs, inputs, kernel, kernel]])?.to_dtype(DType::F32)?;
            let rows = weight.flatten_from(1)?;
            let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
            let scale = (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
            let weight = centred.broadcast_div(&scale)?.reshape(weight.shape())?;
            Ok(Conv2d::new(&weight, None, Conv2dConfig { stride, padding }, self.products)?)
        })
    }

    /// A transposed convolution whose kernel is its stride, as the linear layer that gives the `factor` x `factor` results of a pixel, row by row.
    pub fn spread_conv(&self, name: &str, inputs: usize, outputs: usize, factor: usize) -> Result<Linear> {
        let at = self.pp(name);
        let weight = at.tensor("weight", &[&[inputs, outputs, factor, factor]])?.permute((2, 3, 1, 0))?.contiguous()?;
        let bias = at.tensor("bias", &[&[outputs]])?;
        let (height, width, outputs, inputs) = weight.dims4()?;
        let bias = bias.repeat(height * width)?;
        Ok(Linear::new(&weight.reshape((height * width * outputs, inputs))?, Some(&bias), self.shared.ctx.dtype.float())?)
    }

    /// So many heads of this width, whose scores are divided by its root.
    pub fn heads(&self, count: usize, width: usize) -> Heads {
        Heads::new(count, (width as f32).sqrt().recip(), self.shared.ctx.dtype)
    }

    pub fn group_norm(&self, name: &str, channels: usize, groups: usize, eps: f64) -> Result<GroupNorm> {
        let at = self.pp(name);
        check_groups(channels, groups)?;
        at.layer(&["weight", "bias"], || {
            let (weight, bias) = (at.tensor_f32("weight", &[channels])?, at.tensor_f32("bias", &[channels])?);
            let groups = if self.shared.mode == Mode::Check { 1 } else { groups };
            Ok(GroupNorm::new(&weight, &bias, groups, eps)?)
        })
    }

    /// GroupNorm without learned scale and shift.
    pub fn plain_group_norm(&self, channels: usize, groups: usize, eps: f64) -> Result<GroupNorm> {
        check_groups(channels, groups)?;
        let (weight, bias) = (Tensor::ones(channels, DType::F32, self.device())?, Tensor::zeros(channels, DType::F32, self.device())?);
        Ok(GroupNorm::new(&weight, &bias, groups, eps)?)
    }

    pub fn layer_norm(&self, name: &str, width: usize, eps: f64) -> Result<LayerNorm> {
        let at = self.pp(name);
        at.layer(&["weight", "bias"], || Ok(LayerNorm::new(&at.tensor_f32("weight", &[width])?, &at.tensor_f32("bias", &[width])?, eps)?))
    }
}

fn check_groups(channels: usize, groups: usize) -> Result<()> {
    if groups > 0 && channels.is_multiple_of(groups) {
        return Ok(());
    }
    Err(ModelError::config("norm_num_groups", format!("a divisor of {channels} channels"), groups))
}
