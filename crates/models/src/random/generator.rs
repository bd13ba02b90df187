use super::mt19937::Mt19937;
use super::normal;
use super::philox::Philox;
use super::samples::{Precision, Samples};
use crate::error::{ModelError, Result};

/// Which of torch's generators a seed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratorKind {
    /// `torch.Generator('cpu')`: mt19937, of which only the low 32 bits of the seed count.
    Cpu,
    /// `torch.Generator('cuda')`: Philox4x32-10, on a GPU large enough for every element to have its own thread.
    Philox,
}

/// A seeded source of random numbers; a clone continues from the same state on its own.
///
/// Source: torch aten/src/ATen/CPUGeneratorImpl.cpp, aten/src/ATen/native/cpu/DistributionTemplates.h.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    seed: u64,
    engine: Engine,
}

#[derive(Clone, Debug, PartialEq)]
enum Engine {
    Cpu { engine: Mt19937, cached_normal: Option<f64> },
    Philox(Philox),
}

/// The range from which torch draws integers with 64 bits instead of 32.
const WIDE_RANGE: u64 = 1 << 28;

impl Generator {
    /// A fresh generator.
    pub fn new(seed: u64, kind: GeneratorKind) -> Self {
        match kind {
            GeneratorKind::Cpu => {
                let engine = Engine::Cpu { engine: Mt19937::new(seed as u32), cached_normal: None };
                Self { seed, engine }
            }
            GeneratorKind::Philox => Self::philox(seed, 0, None),
        }
    }

    /// A Philox generator that has already made `rounds_done` kernel rounds, for a GPU that runs `threads` threads at once (multiples of 256).
    pub fn philox(seed: u64, rounds_done: u64, threads: Option<u64>) -> Self {
        Self { seed, engine: Engine::Philox(Philox::new(seed, rounds_done, threads)) }
    }

    /// The seed it started from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Which generator this is.
    pub fn kind(&self) -> GeneratorKind {
        match self.engine {
            Engine::Cpu { .. } => GeneratorKind::Cpu,
            Engine::Philox(_) => GeneratorKind::Philox,
        }
    }

    /// Starts anew from a seed and forgets the cached normal; a Philox generator keeps its thread count.
    pub fn manual_seed(&mut self, seed: u64) {
        *self = match &self.engine {
            Engine::Cpu { .. } => Self::new(seed, GeneratorKind::Cpu),
            Engine::Philox(philox) => Self::philox(seed, 0, philox.threads()),
        };
    }

    /// `n` standard normals, `torch.randn`.
    pub fn randn(&mut self, n: usize, precision: Precision) -> Result<Samples> {
        self.normal(n, precision, 0.0, 1.0)
    }

    /// `n` normals, `Tensor.normal_`. Errors: f64 from Philox, which torch draws in another way.
    pub fn normal(&mut self, n: usize, precision: Precision, mean: f64, std: f64) -> Result<Samples> {
        let mut values = vec![0.0; n];
        match &mut self.engine {
            Engine::Cpu { engine, cached_normal } => normal::fill(engine, cached_normal, precision, &mut values),
            Engine::Philox(philox) => {
                narrow_only(precision)?;
                values = philox.normal(n).into_iter().map(f64::from).collect();
            }
        }
        if (mean, std) != (0.0, 1.0) {
            values.iter_mut().for_each(|value| *value = *value * std + mean);
        }
        Ok(Samples::rounded(values, precision))
    }

    /// `n` uniforms in [0, 1), `torch.rand`.
    pub fn rand(&mut self, n: usize, precision: Precision) -> Result<Samples> {
        self.uniform(n, precision, 0.0, 1.0)
    }

    /// `n` uniforms in [from, to), `Tensor.uniform_`; a value that rounds to `to` becomes `from`. Errors: f64 from Philox.
    pub fn uniform(&mut self, n: usize, precision: Precision, from: f64, to: f64) -> Result<Samples> {
        if precision == Precision::F64 {
            let engine = self.cpu("f64 uniforms")?;
            let value = |unit: f64| Some(unit * (to - from) + from).filter(|&value| value < to).unwrap_or(from);
            return Ok(Samples::F64((0..n).map(|_| value(engine.uniform_f64())).collect()));
        }
        let (from, to) = (from as f32, to as f32);
        let units: Vec<f32> = match &mut self.engine {
            Engine::Cpu { engine, .. } => (0..n).map(|_| engine.uniform_f32()).collect(),
            Engine::Philox(philox) => philox.uniform(n),
        };
        let value = |unit: f32| Some(unit * (to - from) + from).filter(|&value| precision.round(value) < to).unwrap_or(from);
        let values = units.into_iter().map(|unit| f64::from(value(unit))).collect();
        Ok(Samples::rounded(values, precision))
    }

    /// `n` integers in [low, high), `torch.randint`. Errors: an empty range, or a Philox generator.
    pub fn randint(&mut self, low: i64, high: i64, n: usize) -> Result<Vec<i64>> {
        if high <= low {
            return Err(ModelError::argument("high", format!("an integer above {low}"), high));
        }
        let range = high.wrapping_sub(low) as u64;
        let engine = self.cpu("integers")?;
        let mut draw = || if range < WIDE_RANGE { u64::from(engine.random()) } else { engine.random64() };
        Ok((0..n).map(|_| low.wrapping_add((draw() % range) as i64)).collect())
    }

    /// A permutation of 0..n, `torch.randperm`. Errors: more than 2^32 - 1 elements, or a Philox generator.
    pub fn randperm(&mut self, n: usize) -> Result<Vec<i64>> {
        let length = u32::try_from(n).map_err(|_| ModelError::argument("n", "an integer below 2^32", n))?;
        let engine = self.cpu("permutations")?;
        let mut order: Vec<i64> = (0..i64::from(length)).collect();
        for index in 0..n.saturating_sub(1) {
            let other = engine.random() as usize % (n - index);
            order.swap(index, index + other);
        }
        Ok(order)
    }

    /// `n` draws of 1 with probability `p` and 0 else, `Tensor.bernoulli_`. Errors: a probability outside 0..1, or a Philox generator.
    pub fn bernoulli(&mut self, n: usize, p: f64) -> Result<Vec<f32>> {
        if !(0.0..=1.0).contains(&p) {
            return Err(ModelError::argument("p", "a probability from 0 to 1", p));
        }
        let engine = self.cpu("bernoulli draws")?;
        Ok((0..n).map(|_| f32::from(u8::from(engine.uniform_f64() < p))).collect())
    }

    /// `n` raw 32-bit words of the Mersenne twister. Errors: a Philox generator.
    pub fn random_words(&mut self, n: usize) -> Result<Vec<u32>> {
        let engine = self.cpu("raw words")?;
        Ok((0..n).map(|_| engine.random()).collect())
    }

    fn cpu(&mut self, wanted: &str) -> Result<&mut Mt19937> {
        match &mut self.engine {
            Engine::Cpu { engine, .. } => Ok(engine),
            Engine::Philox(_) => Err(ModelError::argument("rng", format!("\"torch-cpu\" for {wanted}"), "\"torch-cuda\"")),
        }
    }
}

fn narrow_only(precision: Precision) -> Result<()> {
    match precision {
        Precision::F64 => Err(ModelError::argument("dtype", "f32, f16 or bf16 for \"torch-cuda\"", "f64")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clone_draws_the_same_and_a_seed_starts_anew() {
        let mut generator = Generator::new(7, GeneratorKind::Cpu);
        let first = generator.randn(3, Precision::F32).unwrap();
        let mut copy = generator.clone();
        assert_eq!(generator.randn(20, Precision::F32).unwrap(), copy.randn(20, Precision::F32).unwrap());
        generator.manual_seed(7);
        assert_eq!(generator.randn(3, Precision::F32).unwrap(), first);
    }

    #[test]
    fn only_the_low_half_of_a_cpu_seed_counts() {
        let draw = |seed| Generator::new(seed, GeneratorKind::Cpu).randn(16, Precision::F32).unwrap();
        assert_eq!(draw(5), draw((1 << 32) + 5));
    }

    #[test]
    fn refuses_empty_ranges_and_what_cuda_draws_otherwise() {
        assert!(Generator::new(0, GeneratorKind::Cpu).randint(3, 3, 1).is_err());
        assert!(Generator::new(0, GeneratorKind::Cpu).bernoulli(1, f64::NAN).is_err());
        assert!(Generator::new(0, GeneratorKind::Philox).randn(4, Precision::F64).is_err());
        assert!(Generator::new(0, GeneratorKind::Philox).randint(0, 3, 1).is_err());
    }
}
