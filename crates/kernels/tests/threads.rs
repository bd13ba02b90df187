//! The same bits for any number of threads and any batch: reductions have one order, and only outputs are shared out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{DType, Tensor};
use nd_kernels::*;
use oracle::{normal, single};

fn bits(x: &Tensor) -> Vec<u32> {
    let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Every kind of operation on samples of one batch: tiles, Winograd in all sizes, phases, narrow outputs, norms, bytes, brain floats and attention.
fn run(x: &Tensor) -> Vec<Vec<u32>> {
    let channels = x.dims()[3];
    let same = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
    let conv = |c: usize, config| Conv2d::new(&normal(2, &[c, channels, 3, 3]), None, config, DType::F32).unwrap();
    let (b, h, w, c) = x.dims4().unwrap();
    let tokens = x.narrow(1, 0, 8).unwrap().contiguous().unwrap().reshape((b, 8 * w, c)).unwrap();
    let prompt = tokens.narrow(1, 0, 77).unwrap().contiguous().unwrap();
    let norm = GroupNorm::new(&normal(3, &[c]), &normal(4, &[c]), 8, 1e-5).unwrap();
    let linear = Linear::new(&normal(5, &[96, c]), None, DType::F32).unwrap();
    let small = x.narrow(1, 0, 16).unwrap().narrow(2, 0, 16).unwrap().contiguous().unwrap();
    // Alone its weights are made next to their products, and in a batch for all.
    let middle = x.narrow(1, 0, 40).unwrap().narrow(2, 0, 40).unwrap().contiguous().unwrap();
    let plain = Epilogue::default();
    let heads = |storage: DType| cpu::with_bf16(|| Heads::new(2, 0.2, storage));
    [
        conv(64, same).forward(x),
        conv(80, same).forward(&x.narrow(1, 0, 32).unwrap().contiguous().unwrap()),
        conv(470, same).forward(&middle),
        conv(80, Conv2dConfig { stride: 2, ..same }).forward(x),
        conv(3, same).forward(x),
        conv(32, same).forward_upsampled(&small, (32, 32), &plain),
        conv(64, same).forward_upsampled(x, (2 * h, 2 * w), &plain),
        norm.forward(x, Some(Activation::Silu)),
        linear.forward(&tokens),
        Linear::new(&normal(5, &[96, c]), None, Storage::Int8).unwrap().forward(&tokens),
        Conv2d::new(&normal(2, &[64, channels, 3, 3]), None, same, Storage::Int8).unwrap().forward(x),
        cpu::with_bf16(|| Linear::new(&normal(5, &[96, c]), None, DType::BF16).unwrap()).forward(&tokens),
        cpu::with_bf16(|| Conv2d::new(&normal(2, &[48, channels, 3, 3]), None, same, DType::BF16).unwrap()).forward(&small),
        attention(&tokens, &tokens, &tokens, heads(DType::F32), Mask::None),
        attention(&tokens, &prompt, &prompt, heads(DType::F32), Mask::None),
        attention(&prompt, &tokens, &tokens, heads(DType::F32), Mask::None),
        attention(&tokens, &tokens, &tokens, heads(DType::BF16), Mask::None),
        attention(&prompt, &prompt, &prompt, heads(DType::BF16), Mask::Causal),
    ]
    .into_iter()
    .map(|y| bits(&y.unwrap()))
    .collect()
}

#[test]
fn results_do_not_depend_on_threads_or_batch() {
    let both = single(&normal(1, &[2, 130, 128, 64]));
    pool::set_threads(1);
    let want = run(&both);
    for threads in [2, 3, 5] {
        pool::set_threads(threads);
        assert_eq!(pool::threads(), threads);
        // Not assert_eq, which would print millions of numbers.
        assert!(run(&both) == want, "{threads} threads");
    }
    if cpu::level() != cpu::Level::Reference {
        let first = run(&both.narrow(0, 0, 1).unwrap());
        for (op, (alone, batch)) in first.iter().zip(&want).enumerate() {
            assert!(alone[..] == batch[..alone.len()], "operation {op} in a batch");
        }
    }
    pool::set_threads(0);
}
