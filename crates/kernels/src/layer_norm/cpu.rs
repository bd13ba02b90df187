use crate::buffer::{dense, output, to_vec, View};
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use candle_core::{Result, Tensor};

/// Elements per task; below, one thread is faster.
const STEP: usize = 1 << 15;

/// Weight, bias and epsilon in f32.
pub(super) struct Body {
    level: Level,
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl Body {
    pub fn new(level: Level, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        Ok(Self { level, weight: to_vec(weight)?, bias: to_vec(bias)?, eps: eps as f32 })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let input = dense(x)?;
        let view = View::new(&input);
        let (values, channels) = (view.slice()?, self.weight.len());
        let rows = values.len() / channels.max(1);
        let step = STEP.div_ceil(channels.max(1));
        let run = |out: Shared<f32>| {
            pool::run(rows.div_ceil(step), |i| {
                let x = &values[i * step * channels..rows.min((i + 1) * step) * channels];
                // SAFETY: tasks write disjoint rows.
                let out = unsafe { out.get().add(i * step * channels) };
                dispatch(self.level, Rows { body: self, x, out })
            })
        };
        // SAFETY: every row is written.
        unsafe { output(x.shape(), run) }?.to_dtype(x.dtype())
    }
}

struct Rows<'a> {
    body: &'a Body,
    x: &'a [f32],
    out: *mut f32,
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.body.weight.len();
        for (i, row) in self.x.chunks_exact(channels).enumerate() {
            normalise::<S>(self.body, row, self.out.add(i * channels));
        }
    }
}

/// Mean, then centred variance: the row stays in L1. Two chains of sums each, because a row is only a few vectors long.
#[inline(always)]
unsafe fn normalise<S: Simd>(body: &Body, x: &[f32], out: *mut f32) {
    let (n, p) = (x.len(), x.as_ptr());
    let whole = n / S::LANES * S::LANES;
    let rest = n - whole;
    let (mut sum, mut more) = (S::load_part(p.add(whole), rest), S::splat(0.0));
    let mut i = 0;
    while i + 2 * S::LANES <= whole {
        sum = S::add(sum, S::load(p.add(i)));
        more = S::add(more, S::load(p.add(i + S::LANES)));
        i += 2 * S::LANES;
    }
    if i < whole {
        more = S::add(more, S::load(p.add(i)));
    }
    let centre = S::sum(S::add(sum, more)) / n as f32;
    let mean = S::splat(centre);
    let (mut sum, mut more) = (S::splat(0.0), S::splat(0.0));
    i = 0;
    while i + 2 * S::LANES <= whole {
        let (a, b) = (S::sub(S::load(p.add(i)), mean), S::sub(S::load(p.add(i + S::LANES)), mean));
        sum = S::fma(a, a, sum);
        more = S::fma(b, b, more);
        i += 2 * S::LANES;
    }
    if i < whole {
        let a = S::sub(S::load(p.add(i)), mean);
        more = S::fma(a, a, more);
    }
    let mut square = S::sum(S::add(sum, more));
    for value in &x[whole..] {
        square += (value - centre) * (value - centre);
    }
    let inverse = S::splat(1.0 / (square / n as f32 + body.eps).sqrt());
    let (weight, bias) = (body.weight.as_ptr(), body.bias.as_ptr());
    i = 0;
    while i < whole {
        let y = S::mul(S::sub(S::load(p.add(i)), mean), inverse);
        S::store(out.add(i), S::fma(y, S::load(weight.add(i)), S::load(bias.add(i))));
        i += S::LANES;
    }
    let y = S::mul(S::sub(S::load_part(p.add(i), rest), mean), inverse);
    S::store_part(out.add(i), S::fma(y, S::load_part(weight.add(i), rest), S::load_part(bias.add(i), rest)), rest);
}
