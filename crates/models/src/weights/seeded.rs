use super::{missing, Element, WeightSource};
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use half::f16;
use rayon::prelude::*;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers that one random stream makes; streams run in parallel.
const RUN: usize = 1 << 14;
/// Deviation of embedding tables. Source: transformers modeling_clip.py `CLIPPreTrainedModel._init_weights`.
const EMBEDDING_RANGE: f32 = 0.02 * 1.732;

/// Weights made up from their names and a seed, for models that were never trained: what a model asks for is there, in the shape that it asks for.
///
/// The distributions are PyTorch's defaults: uniform within one over the square root of the inputs for matrices, kernels and their biases, ones and zeros
/// for normalisations; so activations stay finite through any depth. The same name, seed and shape give the same numbers on every machine.
pub struct SeededWeights {
    seed: u64,
    element: Element,
    shapes: Mutex<HashMap<String, Vec<usize>>>,
}

impl SeededWeights {
    /// Weights of this seed as f32, or rounded to f16, which has the speed and size of a half-precision file.
    pub fn new(seed: u64, dtype: DType) -> Self {
        let element = if dtype == DType::F16 { Element::F16 } else { Element::F32 };
        Self { seed, element, shapes: Mutex::default() }
    }

    fn shapes(&self) -> MutexGuard<'_, HashMap<String, Vec<usize>>> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Half the width of a tensor's distribution, or the one value that all its elements have.
    fn spread(&self, name: &str, shape: &[usize]) -> Spread {
        let fan_in = |shape: &[usize]| shape[1..].iter().product::<usize>().max(1) as f32;
        let (module, kind) = name.rsplit_once('.').unwrap_or(("", name));
        let weight = self.shapes().get(&format!("{module}.weight")).cloned();
        match (shape.len(), kind) {
            (2, _) if module.ends_with("embedding") => Spread::Uniform(EMBEDDING_RANGE),
            (2.., _) => Spread::Uniform(fan_in(shape).sqrt().recip()),
            (_, "bias") => match weight {
                Some(weight) if weight.len() > 1 => Spread::Uniform(fan_in(&weight).sqrt().recip()),
                _ => Spread::Constant(0.0),
            },
            (_, "weight") => Spread::Constant(1.0),
            _ => Spread::Uniform(EMBEDDING_RANGE),
        }
    }
}

enum Spread {
    Constant(f32),
    Uniform(f32),
}

impl WeightSource for SeededWeights {
    fn origin(&self) -> String {
        format!("random weights of seed {}", self.seed)
    }

    fn names(&self) -> Vec<String> {
        self.shapes().keys().cloned().collect()
    }

    fn want(&self, name: &str, shape: &[usize]) {
        self.shapes().insert(name.to_owned(), shape.to_vec());
    }

    fn describe(&self, name: &str) -> Option<(Element, Vec<usize>)> {
        self.shapes().get(name).map(|shape| (self.element, shape.clone()))
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor> {
        let shape = self.shapes().get(name).cloned().ok_or_else(|| missing(name, &self.origin()))?;
        if nd_kernels::dry::is_on() {
            return Ok(Tensor::zeros(shape, if self.element == Element::F16 { DType::F16 } else { DType::F32 }, device)?);
        }
        let (seed, spread) = (stream(self.seed, name), self.spread(name, &shape));
        let len = shape.iter().product();
        let tensor = match self.element {
            Element::F16 => Tensor::from_vec(fill(len, seed, &spread, f16::from_f32), shape, device)?,
            _ => Tensor::from_vec(fill(len, seed, &spread, |x| x), shape, device)?,
        };
        Ok(tensor)
    }
}

fn fill<T: Copy + Send + Default>(len: usize, seed: u64, spread: &Spread, round: impl Fn(f32) -> T + Sync) -> Vec<T> {
    let range = match *spread {
        Spread::Constant(value) => return vec![round(value); len],
        Spread::Uniform(range) => range,
    };
    let mut values = vec![T::default(); len];
    values.par_chunks_mut(RUN).enumerate().for_each(|(i, run)| {
        let mut state = mix(seed ^ mix(i as u64));
        for value in run {
            state = state.wrapping_add(GOLDEN);
            // The upper 24 bits as a fraction, doubled and shifted to -1 .. 1.
            let unit = (mix(state) >> 40) as f32 * (2.0 / 16_777_216.0) - 1.0;
            *value = round(unit * range);
        }
    });
    values
}

/// 2^64 over the golden ratio, SplitMix64's increment.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function. Source: https://prng.di.unimi.it/splitmix64.c.
fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The random stream of a name.
fn stream(seed: u64, name: &str) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn values(source: &SeededWeights, name: &str, shape: &[usize]) -> Vec<f32> {
        source.want(name, shape);
        source.read(name, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn equal_names_and_seeds_give_equal_numbers() {
        let (a, b, other) = (SeededWeights::new(1, DType::F32), SeededWeights::new(1, DType::F32), SeededWeights::new(2, DType::F32));
        let weight = values(&a, "to_q.weight", &[300, 100]);
        assert_eq!(weight, values(&b, "to_q.weight", &[300, 100]));
        assert_ne!(weight, values(&other, "to_q.weight", &[300, 100]));
        assert_ne!(weight, values(&a, "to_k.weight", &[300, 100]));
    }

    #[test]
    fn spreads_are_those_of_pytorch() {
        let source = SeededWeights::new(7, DType::F32);
        let conv = values(&source, "conv1.weight", &[64, 16, 3, 3]);
        let bound = (16.0f32 * 9.0).sqrt().recip();
        let deviation = (conv.iter().map(|x| x * x).sum::<f32>() / conv.len() as f32).sqrt();
        assert!(conv.iter().all(|x| x.abs() <= bound));
        // Of 9216 uniform numbers; its own deviation is half a percent.
        assert!((deviation / (bound / 3f32.sqrt()) - 1.0).abs() < 0.03, "{deviation}");
        let bias = values(&source, "conv1.bias", &[64]);
        assert!(bias.iter().all(|x| x.abs() <= bound) && bias.iter().any(|&x| x != 0.0));
        assert_eq!(values(&source, "norm1.weight", &[3]), [1.0; 3]);
        assert_eq!(values(&source, "norm1.bias", &[3]), [0.0; 3]);
    }
}
