use super::Activation;
use crate::buffer::{dense, output, View};
use crate::cpu::Level;
use crate::pool;
use crate::simd::math::activate;
use crate::simd::{dispatch, Shared, Simd, Task};
use candle_core::{Result, Tensor};

/// Elements per task; below, one thread is faster.
const STEP: usize = 1 << 15;

struct Apply<'a> {
    a: Activation,
    x: &'a [f32],
    out: *mut f32,
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut i = 0;
        while i + S::LANES <= self.x.len() {
            S::store(self.out.add(i), activate::<S>(self.a, S::load(self.x.as_ptr().add(i))));
            i += S::LANES;
        }
        let n = self.x.len() - i;
        S::store_part(self.out.add(i), activate::<S>(self.a, S::load_part(self.x.as_ptr().add(i), n)), n);
    }
}

pub(super) fn activation(level: Level, x: &Tensor, a: Activation) -> Result<Tensor> {
    let input = dense(x)?;
    let view = View::new(&input);
    let values = view.slice()?;
    let run = |out: Shared<f32>| {
        pool::run(values.len().div_ceil(STEP), |i| {
            let part = &values[i * STEP..values.len().min((i + 1) * STEP)];
            // SAFETY: tasks write disjoint parts.
            let out = unsafe { out.get().add(i * STEP) };
            dispatch(level, Apply { a, x: part, out })
        })
    };
    // SAFETY: every part is written.
    unsafe { output(x.shape(), run) }?.to_dtype(x.dtype())
}
