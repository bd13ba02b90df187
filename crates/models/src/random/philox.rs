use std::f32::consts::TAU;

const ROUNDS: usize = 10;
/// Threads of one block of torch's kernel.
const BLOCK: u64 = 256;
/// Normals that one thread makes in one round.
const UNROLL: u64 = 4;

/// Philox4x32-10 as torch's CUDA kernels use it: a counter for each round and thread under the seed as key.
///
/// Source: Salmon et al. 2011; torch aten/src/ATen/native/cuda/DistributionTemplates.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Philox {
    seed: u64,
    rounds_done: u64,
    threads: Option<u64>,
}

impl Philox {
    /// `threads`: how many the GPU runs at once (gridDim * 256); `None` for as many as there are elements.
    pub(super) fn new(seed: u64, rounds_done: u64, threads: Option<u64>) -> Self {
        Self { seed, rounds_done, threads }
    }

    pub(super) fn threads(&self) -> Option<u64> {
        self.threads
    }

    /// `n` standard normals.
    pub(super) fn normal(&mut self, n: usize) -> Vec<f32> {
        self.fill(n, |words| {
            let (a, b) = box_muller(words[0], words[1]);
            let (c, d) = box_muller(words[2], words[3]);
            [a, b, c, d]
        })
    }

    /// `n` uniforms in [0, 1).
    pub(super) fn uniform(&mut self, n: usize) -> Vec<f32> {
        self.fill(n, |words| words.map(|word| Some(unit(word)).filter(|&value| value < 1.0).unwrap_or(0.0)))
    }

    fn fill(&mut self, n: usize, four: impl Fn([u32; 4]) -> [f32; 4]) -> Vec<f32> {
        let mut out = vec![0.0; n];
        let wanted = (n as u64).div_ceil(BLOCK) * BLOCK;
        let threads = self.threads.map_or(wanted, |threads| threads.min(wanted)).max(1);
        for round in 0..(n as u64).div_ceil(threads * UNROLL) {
            for thread in 0..threads {
                let first = round * UNROLL * threads + thread;
                if first >= n as u64 {
                    break;
                }
                let values = four(philox(self.seed, self.rounds_done, thread));
                for (value, lane) in values.into_iter().zip(0..UNROLL) {
                    if let Some(slot) = out.get_mut((first + lane * threads) as usize) {
                        *slot = value;
                    }
                }
            }
            self.rounds_done += 1;
        }
        out
    }
}

/// Four words of one counter.
fn philox(seed: u64, offset: u64, thread: u64) -> [u32; 4] {
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let ((mut key0, mut key1), (o0, o1), (t0, t1)) = (halves(seed), halves(offset), halves(thread));
    let mut counter = [o0, o1, t0, t1];
    for _ in 0..ROUNDS {
        let (low0, high0) = halves(u64::from(counter[0]) * 0xd251_1f53);
        let (low1, high1) = halves(u64::from(counter[2]) * 0xcd9e_8d57);
        counter = [high1 ^ counter[1] ^ key0, low1, high0 ^ counter[3] ^ key1, low0];
        key0 = key0.wrapping_add(0x9e37_79b9);
        key1 = key1.wrapping_add(0xbb67_ae85);
    }
    counter
}

/// A word in (0, 1]: the middle of its cell.
fn unit(word: u32) -> f32 {
    const CELL: f32 = 1.0 / 4_294_967_296.0;
    word as f32 * CELL + CELL / 2.0
}

/// Two words to two normals. Source: curand_normal.h `_curand_box_muller`.
fn box_muller(x: u32, y: u32) -> (f32, f32) {
    const CELL: f32 = TAU / 4_294_967_296.0;
    let angle = y as f32 * CELL + CELL / 2.0;
    let radius = (-2.0 * unit(x).ln()).sqrt();
    (radius * angle.sin(), radius * angle.cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_test_vector() {
        // Random123 kat_vectors: philox4x32 10, all zero.
        assert_eq!(philox(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn uniforms_stay_below_one() {
        assert!(Philox::new(3, 0, Some(256)).uniform(5000).iter().all(|value| (0.0..1.0).contains(value)));
    }
}
