//! Activations, layouts and linear combinations against the reference in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;

use candle_core::{Device, Tensor};
use nd_kernels::{activation, linear_combination, nchw_to_nhwc, nhwc_to_nchw, Activation};
use oracle::{exact, near, normal, single};

const ALL: [Activation; 6] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu, Activation::Mish];

fn activations() {
    for len in [15, 16, 17, 1000, 70_001] {
        let x = (normal(1, &[len]) * 4.0).unwrap();
        for a in ALL {
            let want = exact(|| activation(&x, a).unwrap());
            // erf is good to 1.5e-7 of |x| <= 16, exponentials to 2e-7.
            near(&activation(&single(&x), a).unwrap(), &want, 2e-6, &format!("{a:?} {len}"));
        }
    }
}

/// Where exponentials overflow and vanish the limits are reached, and NaN stays NaN.
fn extremes() {
    let values = [-1e30f32, -200.0, -90.0, 0.0, 90.0, 200.0, 1e30];
    let x = Tensor::new(&values, &Device::Cpu).unwrap();
    for a in ALL {
        for (x, y) in values.iter().zip(activation(&x, a).unwrap().to_vec1::<f32>().unwrap()) {
            let want = x.max(0.0);
            assert!((y - want).abs() <= 1e-6 * want + 1e-27, "{a:?} {x}: {y}");
        }
        let nan = activation(&Tensor::new(&[f32::NAN; 17], &Device::Cpu).unwrap(), a).unwrap();
        assert!(a == Activation::Relu || nan.to_vec1::<f32>().unwrap().iter().all(|y| y.is_nan()), "{a:?}");
    }
}

fn layouts() {
    for shape in [[1, 1, 1, 1], [2, 4, 16, 16], [1, 320, 9, 7], [2, 3, 37, 41], [1, 130, 20, 20]] {
        let x = normal(1, &shape);
        let y = nchw_to_nhwc(&single(&x)).unwrap();
        assert!(y.is_contiguous());
        near(&y, &x.permute((0, 2, 3, 1)).unwrap(), 0.0, &format!("{shape:?}"));
        near(&nhwc_to_nchw(&y).unwrap(), &x, 0.0, &format!("{shape:?} back"));
    }
}

fn combinations() {
    for len in [1, 255, 257, 40_000] {
        let terms: Vec<Tensor> = (0..3).map(|i| normal(i + 1, &[len])).collect();
        let singles: Vec<Tensor> = terms.iter().map(single).collect();
        let pick = |all: &[Tensor]| linear_combination(&[(1.5, &all[0]), (-0.25, &all[1]), (1e-3, &all[2])]).unwrap();
        // One rounding to f32; the largest value is a few times the root mean square.
        near(&pick(&singles), &exact(|| pick(&terms)), 4e-7, &format!("{len}"));
    }
}

each_level!(activations, extremes, layouts, combinations);
