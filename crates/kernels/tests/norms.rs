//! GroupNorm and LayerNorm against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::Tensor;
use nd_kernels::cpu::{level, Level};
use nd_kernels::{Activation, GroupNorm, LayerNorm};
use oracle::{exact, near, normal, single};

/// Rounding of statistics, one multiply-add and an exponential; the reference sums one value after the other in f32.
const TOLERANCE: f64 = 2e-5;

fn group() {
    for (b, h, w, c, groups) in
        [(2, 16, 16, 32, 32), (1, 9, 15, 96, 32), (2, 33, 8, 160, 32), (1, 1, 1, 64, 2), (2, 5, 5, 30, 3), (1, 7, 3, 17, 1), (2, 40, 40, 16, 4)]
    {
        let (x, weight, bias) = (normal(1, &[b, h, w, c]), normal(2, &[c]), normal(3, &[c]));
        let norm = || GroupNorm::new(&weight, &bias, groups, 1e-5).unwrap();
        let (scale, shift) = (normal(4, &[b, c]), normal(5, &[b, c]));
        for activation in [None, Some(Activation::Silu), Some(Activation::Mish)] {
            let what = format!("{:?} {activation:?}", (b, h, w, c, groups));
            let want = exact(|| norm().forward(&x, activation).unwrap());
            near(&norm().forward(&single(&x), activation).unwrap(), &want, TOLERANCE, &what);
            let want = exact(|| norm().forward_scale_shift(&x, &scale, &shift, activation).unwrap());
            let got = norm().forward_scale_shift(&single(&x), &single(&scale), &single(&shift), activation).unwrap();
            near(&got, &want, TOLERANCE, &what);
        }
    }
}

/// The same bits as in memory of its own, also for a part of a tensor.
fn in_place() {
    for (b, h, w, c, groups) in [(2, 16, 16, 32, 32), (1, 40, 40, 96, 32), (2, 5, 5, 30, 3), (1, 7, 3, 17, 1)] {
        let norm = GroupNorm::new(&single(&normal(2, &[c])), &single(&normal(3, &[c])), groups, 1e-5).unwrap();
        for activation in [None, Some(Activation::Silu)] {
            let whole = single(&normal(1, &[b + 1, h, w, c]));
            let x = whole.narrow(0, 1, b).unwrap();
            let want = norm.forward(&x, activation).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let got = norm.forward_in_place(x.clone(), activation).unwrap();
            assert_eq!(got.dims(), x.dims());
            assert_eq!(got.flatten_all().unwrap().to_vec1::<f32>().unwrap(), want, "{:?} {activation:?}", (b, h, w, c, groups));
        }
    }
}

fn concat() {
    for (c1, c2, groups) in [(32, 32, 32), (20, 44, 4), (7, 3, 2)] {
        let (x1, x2) = (normal(1, &[2, 6, 9, c1]), normal(2, &[2, 6, 9, c2]));
        let norm = || GroupNorm::new(&normal(3, &[c1 + c2]), &normal(4, &[c1 + c2]), groups, 1e-6).unwrap();
        let want = exact(|| norm().forward_concat(&x1, &x2, Some(Activation::Silu)).unwrap());
        let got = norm().forward_concat(&single(&x1), &single(&x2), Some(Activation::Silu)).unwrap();
        near(&got, &want, TOLERANCE, &format!("{c1}+{c2}"));
    }
}

fn map() {
    for (b, size, small, c, groups) in
        [(2, (16, 24), (4, 6), 32, 8), (1, (9, 15), (3, 4), 96, 32), (2, (5, 7), (5, 7), 17, 1), (1, (12, 8), (1, 1), 30, 3)]
    {
        let (x, weight, bias) = (normal(1, &[b, size.0, size.1, c]), normal(2, &[c]), normal(3, &[c]));
        let (scale, shift) = (normal(4, &[b, small.0, small.1, c]), normal(5, &[b, small.0, small.1, c]));
        let norm = || GroupNorm::new(&weight, &bias, groups, 1e-6).unwrap();
        for activation in [None, Some(Activation::Silu), Some(Activation::Mish)] {
            let want = exact(|| norm().forward_map(&x, &scale, &shift, activation).unwrap());
            let got = norm().forward_map(&single(&x), &single(&scale), &single(&shift), activation).unwrap();
            near(&got, &want, TOLERANCE, &format!("{size:?} {small:?} {c} {activation:?}"));
        }
    }
}

/// A mean a thousand times the deviation: naive sums of squares in f32 would have no digit left. The reference in f32 keeps few, so it is not asked.
fn large_mean() {
    if level() == Level::Reference {
        return;
    }
    let x = single(&(normal(1, &[1, 40, 40, 32]) + 1000.0).unwrap()).to_dtype(candle_core::DType::F64).unwrap();
    let norm = || GroupNorm::new(&normal(2, &[32]), &normal(3, &[32]), 8, 1e-5).unwrap();
    let want = exact(|| norm().forward(&x, None).unwrap());
    // The final multiply-add in f32 cancels three digits.
    near(&norm().forward(&single(&x), None).unwrap(), &want, 1e-3, "large mean");
}

fn layer() {
    for (rows, c) in [(1, 1), (3, 5), (77, 768), (256, 96), (300, 320), (9, 33), (2, 1280), (5, 24)] {
        let (x, weight, bias) = (normal(1, &[1, rows, c]), normal(2, &[c]), normal(3, &[c]));
        let run = |x: &Tensor| LayerNorm::new(&weight, &bias, 1e-5).unwrap().forward(x).unwrap();
        near(&run(&single(&x)), &exact(|| run(&x)), TOLERANCE, &format!("{rows}x{c}"));
    }
}

each_level!(group, in_place, concat, map, large_mean, layer);
