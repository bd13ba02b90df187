//! `NativeTensor`: the handle behind the SDK's `Tensor`.

use crate::account::Accounted;
use crate::device;
use crate::error::{Failure, Outcome, Result, DISPOSED};
use crate::ops;
use candle_core::Tensor;
use napi::bindgen_prelude::*;
use napi_derive::napi;

/// A tensor in native memory; immutable apart from `dispose()`.
#[napi(custom_finalize)]
pub struct NativeTensor {
    live: Option<Accounted>,
}

impl ObjectFinalize for NativeTensor {
    fn finalize(mut self, env: Env) -> napi::Result<()> {
        self.live.take().map_or(Ok(()), |accounted| accounted.release(&env))
    }
}

impl NativeTensor {
    /// A handle on a tensor of its own.
    pub fn wrap(env: &Env, tensor: Tensor) -> Outcome<Self> {
        Ok(Self { live: Some(Accounted::new(env, tensor, [])?) })
    }

    /// Handles on several tensors, of which some may be views of one storage.
    pub fn wrap_all(env: &Env, tensors: Vec<Tensor>) -> Outcome<Vec<Self>> {
        Ok(Accounted::all(env, tensors)?.into_iter().map(|accounted| Self { live: Some(accounted) }).collect())
    }

    /// The tensor, unless disposed. Cloning it is cheap and keeps the storage for running work.
    pub fn tensor(&self) -> Outcome<&Tensor> {
        Ok(&self.accounted()?.tensor)
    }

    fn accounted(&self) -> Outcome<&Accounted> {
        self.live.as_ref().ok_or_else(|| Failure::new(DISPOSED, "Expected a Tensor in use but received a disposed one"))
    }

    fn derive(&self, env: &Env, op: impl FnOnce(&Tensor) -> Outcome<Tensor>) -> Result<Self> {
        let accounted = self.accounted()?;
        let tensor = op(&accounted.tensor)?;
        let derived = Accounted::new(env, tensor, [accounted]).map_err(Failure::from)?;
        Ok(Self { live: Some(derived) })
    }
}

#[napi]
impl NativeTensor {
    #[napi(factory, catch_unwind)]
    pub fn from_bytes(env: Env, data: Uint8ArraySlice, source: String, shape: Vec<u32>, dtype: String) -> Result<Self> {
        let tensor = ops::from_bytes(&data, &source, &sizes(&shape), device::dtype(&dtype)?)?;
        Ok(Self::wrap(&env, tensor)?)
    }

    #[napi(factory, catch_unwind)]
    pub fn full(env: Env, shape: Vec<u32>, value: f64, dtype: String) -> Result<Self> {
        Ok(Self::wrap(&env, ops::full(&sizes(&shape), value, device::dtype(&dtype)?)?)?)
    }

    #[napi(factory, catch_unwind)]
    pub fn cat(env: Env, tensors: Vec<ClassInstance<NativeTensor>>, dim: i64) -> Result<Self> {
        Self::joined(&env, &tensors, |tensors| ops::cat(tensors, dim))
    }

    #[napi(factory, catch_unwind)]
    pub fn stack(env: Env, tensors: Vec<ClassInstance<NativeTensor>>, dim: i64) -> Result<Self> {
        Self::joined(&env, &tensors, |tensors| ops::stack(tensors, dim))
    }

    #[napi(factory, catch_unwind)]
    pub fn linear_combination(env: Env, weights: Vec<f64>, tensors: Vec<ClassInstance<NativeTensor>>) -> Result<Self> {
        Self::joined(&env, &tensors, |tensors| ops::linear_combination(&weights, tensors))
    }

    #[napi(getter, catch_unwind)]
    pub fn shape(&self) -> Result<Vec<f64>> {
        Ok(self.tensor()?.dims().iter().map(|&size| size as f64).collect())
    }

    #[napi(getter, catch_unwind)]
    pub fn dtype(&self) -> Result<&'static str> {
        Ok(self.tensor()?.dtype().as_str())
    }

    #[napi(getter, catch_unwind)]
    pub fn device(&self) -> Result<String> {
        Ok(device::device_name(self.tensor()?))
    }

    #[napi(catch_unwind)]
    pub fn binary(&self, env: Env, op: String, other: &NativeTensor) -> Result<NativeTensor> {
        let other = other.tensor()?;
        self.derive(&env, |a| ops::binary(&op, a, other))
    }

    #[napi(catch_unwind)]
    pub fn scalar(&self, env: Env, op: String, value: f64) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::scalar(&op, a, value))
    }

    #[napi(catch_unwind)]
    pub fn unary(&self, env: Env, op: String) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::unary(&op, a))
    }

    #[napi(catch_unwind)]
    pub fn clamp(&self, env: Env, low: f64, high: f64) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::clamp(a, low, high))
    }

    #[napi(catch_unwind)]
    pub fn reduce(&self, env: Env, op: String, dims: Vec<u32>, keep_dim: bool) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::reduce(&op, a, &sizes(&dims), keep_dim))
    }

    #[napi(catch_unwind)]
    pub fn argmax(&self, env: Env, dim: u32) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::argmax(a, dim as usize))
    }

    #[napi(catch_unwind)]
    pub fn slice(&self, env: Env, dim: u32, start: u32, length: u32) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::slice(a, dim as usize, start as usize, length as usize))
    }

    #[napi(catch_unwind)]
    pub fn reshape(&self, env: Env, shape: Vec<u32>) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::reshape(a, &sizes(&shape)))
    }

    #[napi(catch_unwind)]
    pub fn permute(&self, env: Env, dims: Vec<u32>) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::permute(a, &sizes(&dims)))
    }

    #[napi(catch_unwind)]
    pub fn expand(&self, env: Env, shape: Vec<u32>) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::expand(a, &sizes(&shape)))
    }

    #[napi(catch_unwind)]
    pub fn repeat(&self, env: Env, repeats: Vec<u32>) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::repeat(a, &sizes(&repeats)))
    }

    #[napi(catch_unwind)]
    pub fn repeat_interleave(&self, env: Env, repeats: u32, dim: u32) -> Result<NativeTensor> {
        self.derive(&env, |a| ops::repeat_interleave(a, repeats as usize, dim as usize))
    }

    #[napi(catch_unwind)]
    pub fn to_dtype(&self, env: Env, dtype: String) -> Result<NativeTensor> {
        let dtype = device::dtype(&dtype)?;
        self.derive(&env, |a| {
            ops::reserve(a.dims(), dtype)?;
            Ok(a.to_dtype(dtype)?)
        })
    }

    #[napi(catch_unwind)]
    pub fn to_device(&self, env: Env, device: String) -> Result<NativeTensor> {
        let device = device::device(&device)?;
        self.derive(&env, |a| Ok(a.to_device(&device)?))
    }

    #[napi(catch_unwind)]
    pub fn clone(&self, env: Env) -> Result<NativeTensor> {
        self.derive(&env, |a| Ok(a.clone()))
    }

    /// The elements in row-major order, little-endian; f16 and bf16 as f32.
    #[napi(catch_unwind, ts_return_type = "Uint8Array")]
    pub fn to_bytes<'env>(&self, env: &'env Env) -> Result<Uint8ArraySlice<'env>> {
        Ok(ops::with_bytes(self.tensor()?, |bytes| Uint8ArraySlice::copy_from(env, bytes))?.map_err(Failure::from)?)
    }

    #[napi(catch_unwind)]
    pub fn equal(&self, other: &NativeTensor) -> Result<bool> {
        Ok(ops::equal(self.tensor()?, other.tensor()?)?)
    }

    #[napi(catch_unwind)]
    pub fn dispose(&mut self, env: Env) -> Result<()> {
        Ok(self.live.take().map_or(Ok(()), |accounted| accounted.release(&env)).map_err(Failure::from)?)
    }
}

impl NativeTensor {
    fn joined(env: &Env, handles: &[ClassInstance<NativeTensor>], op: impl FnOnce(&[&Tensor]) -> Outcome<Tensor>) -> Result<Self> {
        let live = handles.iter().map(|handle| handle.accounted()).collect::<Outcome<Vec<_>>>()?;
        let tensor = op(&live.iter().map(|accounted| &accounted.tensor).collect::<Vec<_>>())?;
        let joined = Accounted::new(env, tensor, live.iter().copied()).map_err(Failure::from)?;
        Ok(Self { live: Some(joined) })
    }
}

/// Sizes as Rust counts them.
pub fn sizes(values: &[u32]) -> Vec<usize> {
    values.iter().map(|&value| value as usize).collect()
}
