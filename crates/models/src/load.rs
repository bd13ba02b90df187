//! Building models from checkpoints: a pass over headers that reports all that is wrong, then one that reads.

mod builder;
mod changes;
mod found;
mod shape;

pub(crate) use builder::Builder;
pub(crate) use changes::Changes;
pub(crate) use shape::{Bias, ConvShape};

use crate::cancel::CancelToken;
use crate::error::{ModelError, Result};
use crate::shared_layers::{Origin, SharedLayers};
use crate::weights::{WeightScope, Weights};
use candle_core::{DType, Device};
use nd_kernels::Storage;
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
    /// How its matrices are stored: f32, f16, bf16, or bytes ([`Storage::Int8`], [`Storage::Fast`]) for a UNet's transformers and residual blocks and
    /// [`Storage::float`] for everything else.
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

/// Builds a model again with changed weights; all layers without any are the origin's own. `ctx` gives the token and the listener; device and dtype are the
/// origin's. Also tells the number of values in the changed tensors.
pub(crate) fn rebuild<T>(origin: &Origin, changes: &dyn Changes, ctx: LoadContext, build: impl Fn(&Builder) -> Result<T>) -> Result<(T, u64)> {
    let ctx = LoadContext { device: origin.device.clone(), dtype: origin.dtype, ..ctx };
    let weights = &origin.scope.weights;
    let sizes = origin.keys.iter().filter(|key| changes.touch(key)).filter_map(|key| weights.describe(key)).map(|(element, shape)| {
        let count = shape.iter().product::<usize>() as u64;
        (count, count * element.bytes() as u64)
    });
    let (values, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    let read = Shared { reuse: Reuse::Take(&origin.layers, changes), ..Shared::new(weights, &ctx, Mode::Read, bytes) };
    let model = build(&Builder::new(&read, &origin.scope.prefix))?;
    Ok((model, values))
}

/// The headers' pass: what the load will find, and the keys that the model reads.
fn check<T>(model: &str, scope: &WeightScope, ctx: &LoadContext, build: impl Fn(&Builder) -> Result<T>) -> Result<(LoadReport, HashSet<String>)> {
    if !matches!(ctx.dtype.float(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(ModelError::argument("dtype", "f32, f16, bf16, int8 or fast", format!("{:?}", ctx.dtype)));
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
    /// Taken from there, except those that these touch.
    Take(&'a SharedLayers, &'a dyn Changes),
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

    /// The changes, if they touch this key.
    fn changes(&self, key: &str) -> Option<&dyn Changes> {
        match self.reuse {
            Reuse::Take(_, changes) => Some(changes).filter(|changes| changes.touch(key)),
            _ => None,
        }
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
