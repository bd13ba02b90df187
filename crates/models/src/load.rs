use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::shared_layers::{Origin, SharedLayers};
use crate::weights::{WeightScope, Weights};
use candle_core::{DType, Device, Tensor};
use nd_kernels::{Conv2d, Conv2dConfig, Geglu, GroupNorm, LayerNorm, Linear, Padding, Storage};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many keys an error names.
const NAMED_KEYS: usize = 5;
/// More weights than any model has (the largest, SDXL's UNet, has 1,680): a config that asks for more is damaged.
const MOST_KEYS: usize = 50_000;
/// Buffers of old checkpoints that hold no weights.
const HARMLESS_KEYS: [&str; 3] = ["position_ids", "num_batches_tracked", "downsample.kernel"];

/// Called with the bytes read so far and in all.
pub type Progress = Box<dyn Fn(u64, u64) + Send + Sync>;

/// Where and how a model is loaded.
pub struct LoadContext {
    /// Where the model runs.
    pub device: Device,
    /// How its matrices are stored: f32, f16, bf16, or bytes for a UNet's transformers and residual blocks and f16 for everything else.
    pub dtype: Storage,
    /// Stops the load between tensors.
    pub cancel: CancelToken,
    /// Told after each tensor.
    pub progress: Option<Progress>,
}

impl LoadContext {
    /// On the CPU, not cancellable, silent.
    pub fn cpu(dtype: impl Into<Storage>) -> Self {
        Self { device: Device::Cpu, dtype: dtype.into(), cancel: CancelToken::new(), progress: None }
    }
}

/// What a load found besides the weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Keys of the checkpoint that the model does not use, sorted.
    pub unexpected: Vec<String>,
    /// Parameters of the model.
    pub parameters: u64,
    /// Bytes of the tensors in the file.
    pub bytes: u64,
}

/// Runs `build` twice: first on headers alone, which reports all missing and mis-shaped keys together, then on the weights.
pub(crate) fn load<T>(model: &str, scope: &WeightScope, ctx: &LoadContext, build: impl Fn(&Builder) -> Result<T>) -> Result<(T, LoadReport)> {
    let (report, _) = check(model, scope, ctx, &build)?;
    let read = Shared::new(&scope.weights, ctx, Mode::Read, report.bytes);
    let loaded = build(&Builder::new(&read, &scope.prefix))?;
    Ok((loaded, report))
}

/// As `load`, for models that adapters can change: keeps the layers and where they came from.
pub(crate) fn load_adaptable<T>(
    model: &str,
    scope: &WeightScope,
    ctx: &LoadContext,
    build: impl Fn(&Builder) -> Result<T>,
) -> Result<(T, LoadReport, Origin)> {
    let (report, keys) = check(model, scope, ctx, &build)?;
    let layers = SharedLayers::default();
    let read = Shared { reuse: Reuse::Keep(&layers), ..Shared::new(&scope.weights, ctx, Mode::Read, report.bytes) };
    let loaded = build(&Builder::new(&read, &scope.prefix))?;
    let origin = Origin { scope: scope.clone(), device: ctx.device.clone(), dtype: ctx.dtype, layers, keys };
    Ok((loaded, report, origin))
}

/// Builds a model again from `weights`, of which only the `changed` keys differ from the origin's; all other layers are the origin's own.
/// `ctx` gives the token and the listener; device and dtype are the origin's. Also tells the number of values in the changed tensors.
pub(crate) fn rebuild<T>(
    origin: &Origin,
    weights: &Weights,
    changed: &HashSet<String>,
    ctx: LoadContext,
    build: impl Fn(&Builder) -> Result<T>,
) -> Result<(T, u64)> {
    let ctx = LoadContext { device: origin.device.clone(), dtype: origin.dtype, ..ctx };
    let sizes = changed.iter().filter_map(|key| weights.describe(key)).map(|(element, shape)| {
        let count = shape.iter().product::<usize>() as u64;
        (count, count * element.bytes() as u64)
    });
    let (values, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    let read = Shared { reuse: Reuse::Take(&origin.layers, changed), ..Shared::new(weights, &ctx, Mode::Read, bytes) };
    let model = build(&Builder::new(&read, &origin.scope.prefix))?;
    Ok((model, values))
}

/// The headers' pass: what the load will find, and the keys that the model reads.
fn check<T>(model: &str, scope: &WeightScope, ctx: &LoadContext, build: impl Fn(&Builder) -> Result<T>) -> Result<(LoadReport, HashSet<String>)> {
    if !matches!(ctx.dtype.float(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(ModelError::argument("dtype", "f32, f16, bf16 or int8", format!("{:?}", ctx.dtype)));
    }
    let check = Shared::new(&scope.weights, ctx, Mode::Check, 0);
    build(&Builder::new(&check, &scope.prefix))?;
    let report = check.report(model, scope)?;
    let keys = std::mem::take(&mut check.log().used).into_iter().collect();
    Ok((report, keys))
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Check,
    Read,
}

#[derive(Default)]
struct Log {
    used: BTreeSet<String>,
    missing: Vec<String>,
    misfits: Vec<String>,
    parameters: u64,
    bytes: u64,
}

/// What happens with layers that other models can share.
enum Reuse<'a> {
    Nothing,
    /// Put there for later.
    Keep(&'a SharedLayers),
    /// Taken from there, except those of these keys.
    Take(&'a SharedLayers, &'a HashSet<String>),
}

struct Shared<'a> {
    weights: &'a Weights,
    ctx: &'a LoadContext,
    mode: Mode,
    total: u64,
    reuse: Reuse<'a>,
    log: Mutex<Log>,
}

impl<'a> Shared<'a> {
    fn new(weights: &'a Weights, ctx: &'a LoadContext, mode: Mode, total: u64) -> Self {
        Self { weights, ctx, mode, total, reuse: Reuse::Nothing, log: Mutex::default() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, model: &str, scope: &WeightScope) -> Result<LoadReport> {
        let log = self.log();
        let harmless = |name: &String| HARMLESS_KEYS.iter().any(|key| name.ends_with(key));
        let inside = self.weights.names().into_iter().filter(|name| name.starts_with(&scope.prefix));
        let unexpected: Vec<String> = inside.filter(|name| !log.used.contains(name) && !harmless(name)).collect();
        if log.missing.is_empty() && log.misfits.is_empty() {
            return Ok(LoadReport { unexpected, parameters: log.parameters, bytes: log.bytes });
        }
        let mut parts = Vec::new();
        if !log.missing.is_empty() {
            parts.push(format!("{} of {} keys are missing: {}", log.missing.len(), log.used.len(), first(&log.missing)));
        }
        if !log.misfits.is_empty() {
            parts.push(format!("{} do not fit: {}", log.misfits.len(), first(&log.misfits)));
        }
        if !unexpected.is_empty() {
            parts.push(format!("{} are unexpected: {}", unexpected.len(), first(&unexpected)));
        }
        Err(ModelError::Weights(format!(
            "Expected weights that fit the config of {model} but received {}: {}",
            self.weights.origin(),
            parts.join("; ")
        )))
    }
}

fn first(names: &[String]) -> String {
    let more = if names.len() > NAMED_KEYS { ", ..." } else { "" };
    format!("{}{more}", names.iter().take(NAMED_KEYS).map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// Builds the layers of a model from checkpoint keys.
#[derive(Clone)]
pub(crate) struct Builder<'a> {
    shared: &'a Shared<'a>,
    prefix: String,
    /// How linear layers and convolutions are stored here.
    products: Storage,
}

impl<'a> Builder<'a> {
    fn new(shared: &'a Shared<'a>, prefix: &str) -> Self {
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
                Ok(tensor)
            }
        }
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
            Reuse::Take(_, changed) if keys.iter().any(|key| changed.contains(&self.key(key))) => build(),
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
            let weight = at.tensor("weight", &[&[outputs, inputs], &[outputs, inputs, 1, 1]])?;
            let bias = at.bias(bias, outputs)?;
            Ok(Linear::new(&weight, bias.as_ref(), self.products)?)
        })
    }

    /// A linear layer whose (weight, bias) have names of their own.
    pub fn linear_of(&self, (weight, bias): (&str, &str), inputs: usize, outputs: usize) -> Result<Linear> {
        self.layer(&[weight, bias], || {
            let weight = self.tensor(weight, &[&[outputs, inputs]])?;
            let bias = self.tensor(bias, &[&[outputs]])?;
            Ok(Linear::new(&weight, Some(&bias), self.products)?)
        })
    }

    /// GEGLU's projection to two halves of `inner`.
    pub fn geglu(&self, name: &str, inputs: usize, inner: usize) -> Result<Geglu> {
        let at = self.pp(name);
        at.layer(&["weight", "bias"], || {
            let mut weight = at.tensor("weight", &[&[2 * inner, inputs]])?;
            let mut bias = at.tensor("bias", &[&[2 * inner]])?;
            if self.shared.mode == Mode::Check {
                (weight, bias) = (weight.repeat((2, 1))?, bias.repeat(2)?);
            }
            Ok(Geglu::new(&weight, Some(&bias), self.products)?)
        })
    }

    pub fn conv(&self, name: &str, shape: ConvShape) -> Result<Conv2d> {
        let at = self.pp(name);
        let ConvShape { inputs, outputs, kernel, stride, padding, bias } = shape;
        at.layer(&["weight", "bias"], || {
            let weight = at.tensor("weight", &[&[outputs, inputs, kernel, kernel]])?;
            let bias = at.bias(bias, outputs)?;
            Ok(Conv2d::new(&weight, bias.as_ref(), Conv2dConfig { stride, padding }, self.products)?)
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

/// Whether a layer adds a learned bias.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bias {
    Yes,
    No,
}

/// Size of a convolution; kernels are square.
#[derive(Clone, Copy)]
pub(crate) struct ConvShape {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub bias: Bias,
}

impl ConvShape {
    /// Stride 1, the padding that keeps an odd kernel's size, with bias.
    pub fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: Padding::Same(kernel.saturating_sub(1) / 2), bias: Bias::Yes }
    }

    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub fn padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    pub fn bias(self, bias: Bias) -> Self {
        Self { bias, ..self }
    }
}
