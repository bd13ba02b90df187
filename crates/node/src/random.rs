//! `NativeGenerator`: torch's random numbers.

use crate::device;
use crate::error::{Failure, Outcome, Result};
use crate::ops::reserve;
use crate::tensor::{sizes, NativeTensor};
use candle_core::{DType, Device, Tensor};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::random::{Generator, GeneratorKind, Precision, Samples};

/// A seeded source of random numbers; draws advance it.
#[napi]
pub struct NativeGenerator {
    inner: Generator,
}

#[napi]
impl NativeGenerator {
    #[napi(constructor, catch_unwind)]
    pub fn new(seed: BigInt, rng: String) -> Result<Self> {
        let kind = match rng.as_str() {
            "torch-cpu" => GeneratorKind::Cpu,
            "torch-cuda" => GeneratorKind::Philox,
            other => return Err(Failure::expected("'torch-cpu' or 'torch-cuda'", "rng", format!("{other:?}")).into()),
        };
        Ok(Self { inner: Generator::new(seed_of(&seed), kind) })
    }

    #[napi(getter, catch_unwind)]
    pub fn seed(&self) -> BigInt {
        self.inner.seed().into()
    }

    #[napi(catch_unwind)]
    pub fn manual_seed(&mut self, seed: BigInt) {
        self.inner.manual_seed(seed_of(&seed));
    }

    #[napi(catch_unwind)]
    pub fn randn(&mut self, env: Env, shape: Vec<u32>, dtype: String) -> Result<NativeTensor> {
        Ok(self.floats(&env, &shape, &dtype, Generator::randn)?)
    }

    #[napi(catch_unwind)]
    pub fn rand(&mut self, env: Env, shape: Vec<u32>, dtype: String) -> Result<NativeTensor> {
        Ok(self.floats(&env, &shape, &dtype, Generator::rand)?)
    }

    #[napi(catch_unwind)]
    pub fn randint(&mut self, env: Env, low: i64, high: i64, shape: Vec<u32>) -> Result<NativeTensor> {
        let shape = sizes(&shape);
        reserve(&shape, DType::I64)?;
        let values = self.inner.randint(low, high, shape.iter().product()).map_err(Failure::from)?;
        Ok(integers(&env, values, &shape)?)
    }

    #[napi(catch_unwind)]
    pub fn randperm(&mut self, env: Env, n: u32) -> Result<NativeTensor> {
        let shape = [n as usize];
        reserve(&shape, DType::I64)?;
        let values = self.inner.randperm(shape[0]).map_err(Failure::from)?;
        Ok(integers(&env, values, &shape)?)
    }

    #[napi(catch_unwind)]
    #[allow(clippy::should_implement_trait)]
    pub fn clone(&self) -> NativeGenerator {
        Self { inner: self.inner.clone() }
    }
}

impl NativeGenerator {
    fn floats(
        &mut self,
        env: &Env,
        shape: &[u32],
        dtype: &str,
        draw: fn(&mut Generator, usize, Precision) -> nd_models::Result<Samples>,
    ) -> Outcome<NativeTensor> {
        let (shape, dtype) = (sizes(shape), device::dtype(dtype)?);
        reserve(&shape, DType::F64)?;
        let samples = draw(&mut self.inner, shape.iter().product(), Precision::try_from(dtype)?)?;
        NativeTensor::wrap(env, samples.into_tensor(&shape, &Device::Cpu)?)
    }
}

fn integers(env: &Env, values: Vec<i64>, shape: &[usize]) -> Outcome<NativeTensor> {
    NativeTensor::wrap(env, Tensor::from_vec(values, shape, &Device::Cpu)?)
}

fn seed_of(seed: &BigInt) -> u64 {
    seed.words.first().copied().unwrap_or(0)
}
