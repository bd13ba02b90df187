const WORDS: usize = 624;
const MIDDLE: usize = 397;
const UPPER: u32 = 0x8000_0000;
const LOWER: u32 = 0x7fff_ffff;

/// The Mersenne twister of 32-bit words. Source: Matsumoto and Nishimura 1998; torch aten/src/ATen/core/MT19937RNGEngine.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mt19937 {
    state: Box<[u32; WORDS]>,
    next: usize,
}

impl Mt19937 {
    /// Seeds by `init_genrand`, from 32 bits only.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = Box::new([0u32; WORDS]);
        let mut word = seed;
        for (index, slot) in state.iter_mut().enumerate() {
            if index > 0 {
                word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index as u32);
            }
            *slot = word;
        }
        Self { state, next: WORDS }
    }

    /// The next word.
    pub(super) fn random(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// Two words, the first one as the high half.
    pub(super) fn random64(&mut self) -> u64 {
        let high = u64::from(self.random());
        (high << 32) | u64::from(self.random())
    }

    /// Uniform in [0, 1) with 24 bits.
    pub(super) fn uniform_f32(&mut self) -> f32 {
        (self.random() & 0xff_ffff) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1) with 53 bits.
    pub(super) fn uniform_f64(&mut self) -> f64 {
        (self.random64() & ((1 << 53) - 1)) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    fn refill(&mut self) {
        for index in 0..WORDS {
            let bits = (self.state[index] & UPPER) | (self.state[(index + 1) % WORDS] & LOWER);
            let odd = if bits & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + MIDDLE) % WORDS] ^ (bits >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference_word_of_seed_5489() {
        let mut generator = Mt19937::new(5489);
        let last = (0..10_000).map(|_| generator.random()).last();
        assert_eq!(last, Some(4_123_659_995)); // the 10000th word, which the C++ standard prescribes for mt19937
    }
}
