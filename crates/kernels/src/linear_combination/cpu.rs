use crate::buffer::{output, View};
use crate::cpu::Level;
use crate::pool;
use crate::simd::{dispatch, Shared, Simd, Task};
use candle_core::{Result, Tensor};

/// Elements per task; below, one thread is faster.
const STEP: usize = 1 << 14;
/// Sums kept on the stack.
const BLOCK: usize = 256;

/// Of contiguous f32 tensors of one shape.
pub(super) fn linear_combination(level: Level, terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let views: Vec<View> = terms.iter().map(|(_, x)| View::new(x)).collect();
    let mut sources = Vec::with_capacity(terms.len());
    for (view, (factor, _)) in views.iter().zip(terms) {
        sources.push((*factor, view.slice()?));
    }
    let len = terms[0].1.elem_count();
    let run = |out: Shared<f32>| {
        pool::run(len.div_ceil(STEP), |i| {
            let range = i * STEP..len.min((i + 1) * STEP);
            // SAFETY: tasks write disjoint parts.
            let out = unsafe { out.get().add(range.start) };
            dispatch(level, Sum { sources: &sources, range, out })
        })
    };
    // SAFETY: every part is written.
    unsafe { output(terms[0].1.shape(), run) }
}

/// Plain loops: the compiler vectorises them for the instruction set that is enabled around them.
struct Sum<'a> {
    sources: &'a [(f64, &'a [f32])],
    range: std::ops::Range<usize>,
    out: *mut f32,
}

impl Task for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut sum = [0f64; BLOCK];
        for start in self.range.clone().step_by(BLOCK) {
            let n = BLOCK.min(self.range.end - start);
            sum[..n].fill(0.0);
            for (factor, values) in self.sources {
                for (sum, x) in sum[..n].iter_mut().zip(&values[start..start + n]) {
                    *sum += factor * f64::from(*x);
                }
            }
            for (i, sum) in sum[..n].iter().enumerate() {
                *self.out.add(start - self.range.start + i) = *sum as f32;
            }
        }
    }
}
