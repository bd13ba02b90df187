//! Tests that every kind of product passes, of linear layers, GEGLU and convolutions.

use super::{bits, exact, near, normal, single};
use candle_core::Tensor;
use nd_kernels::cpu::{level, with_level, Level};
use nd_kernels::{Activation, Conv2d, Conv2dConfig, Epilogue, Geglu, Linear, Padding, Storage};

pub const SAME: Conv2dConfig = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
pub const DOWN: Conv2dConfig = Conv2dConfig { stride: 2, padding: Padding::Same(1) };

/// (rows, in, out): SD1.5's time embedding and projections cut down, the built-in model's widths, and sizes that fill no pair, quad, lane, tile, panel or chunk.
pub const SHAPES: [(usize, usize, usize); 16] = [
    (1, 320, 1280),
    (64, 320, 320),
    (77, 768, 64),
    (256, 96, 96),
    (256, 160, 640),
    (100, 32, 96),
    (30, 1280, 128),
    (13, 36, 70),
    (1, 1, 1),
    (7, 5, 3),
    (6, 331, 17),
    (201, 676, 129),
    (2, 1281, 80),
    (5, 2563, 9),
    (1300, 51, 33),
    (64, 5120, 16),
];

/// Makes one test per level from tests of this file for a kind of product.
#[macro_export]
macro_rules! products {
    ($kind:ident: $($body:ident),* $(,)?) => {
        mod products {
            $(fn $body() { $crate::oracle::products::$body::<super::$kind>() })*
            $crate::each_level!($($body),*);
        }
    };
}

/// A kind of product: its numbers, its layers, and how far these may be from the reference.
pub trait Products {
    /// As of `near`.
    const TOLERANCE: f64;
    /// Storage of the weights that are tested, and of those that the reference multiplies in f64.
    const STORAGE: Storage;
    const REFERENCE: Storage;

    fn inputs(seed: u64, shape: &[usize]) -> Tensor {
        normal(seed, shape)
    }

    fn weights(seed: u64, shape: &[usize]) -> Tensor {
        normal(seed, shape)
    }

    /// A layer that multiplies in this way.
    fn made<L>(make: impl FnOnce() -> L) -> L {
        make()
    }
}

/// Runs a layer with the reference's products and with the tested ones.
pub fn compare<P: Products, L>(inputs: &[Tensor], tolerance: f64, what: &str, make: impl Fn(Storage) -> L, run: impl Fn(&L, &[Tensor]) -> Tensor) {
    let want = exact(|| run(&make(P::REFERENCE), inputs));
    let layer = P::made(|| make(P::STORAGE));
    near(&run(&layer, &inputs.iter().map(single).collect::<Vec<_>>()), &want, tolerance, what);
}

/// As `compare`, a convolution with a bias.
pub fn convolve<P: Products>(
    inputs: &[Tensor],
    weight: &Tensor,
    config: Conv2dConfig,
    tolerance: f64,
    what: &str,
    run: impl Fn(&Conv2d, &[Tensor]) -> Tensor,
) {
    let bias = normal(9, &[weight.dims()[0]]);
    compare::<P, _>(inputs, tolerance, what, |storage| Conv2d::new(weight, Some(&bias), config, storage).unwrap(), run);
}

/// A layer without bias whose products are tested.
pub fn linear<P: Products>(w: &Tensor) -> Linear {
    P::made(|| Linear::new(w, None, P::STORAGE).unwrap())
}

/// Layers of all shapes.
pub fn shapes<P: Products>() {
    SHAPES.into_iter().for_each(shape::<P>);
}

/// A layer of this shape.
pub fn shape<P: Products>((m, k, n): (usize, usize, usize)) {
    let (x, w, b) = (P::inputs(1, &[m, k]), P::weights(2, &[n, k]), normal(3, &[n]));
    let make = |storage| Linear::new(&w, Some(&b), storage).unwrap();
    compare::<P, _>(&[x], P::TOLERANCE, &format!("{m}x{k}x{n}"), make, |linear, x| {
        assert_eq!((linear.in_features(), linear.out_features()), (k, n));
        linear.forward(&x[0]).unwrap()
    });
}

/// Everything that a layer fuses.
pub fn epilogues<P: Products>() {
    let (b, l, k, n) = (2, 9, 41, 70);
    let (w, bias) = (P::weights(2, &[n, k]), normal(3, &[n]));
    let inputs = [P::inputs(1, &[b, l, k]), normal(4, &[b, l, n]), normal(5, &[b, n])];
    let all = [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu, Activation::Mish];
    for activation in all.map(Some).into_iter().chain([None]) {
        let make = |storage| Linear::new(&w, Some(&bias), storage).unwrap();
        compare::<P, _>(&inputs, P::TOLERANCE, &format!("{activation:?}"), make, |linear, inputs| {
            let epilogue = Epilogue { residual: Some(&inputs[1]), per_sample: Some(&inputs[2]), activation, scale: 0.7 };
            linear.forward_with(&inputs[0], &epilogue).unwrap()
        });
    }
}

pub fn geglu<P: Products>() {
    for (m, k, inner) in [(64, 40, 96), (13, 36, 70), (1, 7, 3), (256, 96, 384), (5, 330, 160)] {
        let (x, w, b) = (P::inputs(1, &[m, k]), P::weights(2, &[2 * inner, k]), normal(3, &[2 * inner]));
        let make = |storage| Geglu::new(&w, Some(&b), storage).unwrap();
        compare::<P, _>(&[x], P::TOLERANCE, &format!("{m}x{k}x{inner}"), make, |geglu, x| geglu.forward(&x[0]).unwrap());
    }
}

/// A row's result does not depend on the rows around it, so a batch gives what its samples give alone.
pub fn rows_are_independent<P: Products>() {
    let (x, w) = (single(&normal(1, &[203, 331])), normal(2, &[150, 331]));
    let linear = linear::<P>(&w);
    let all = linear.forward(&x).unwrap().to_vec2::<f32>().unwrap();
    if level() != Level::Reference {
        for i in [0, 101, 202] {
            assert_eq!(linear.forward(&x.narrow(0, i, 1).unwrap()).unwrap().to_vec2::<f32>().unwrap()[0], all[i]);
        }
    }
}

/// The same bits at every level of this machine, whether an instruction of its own or software multiplies.
pub fn levels_agree<P: Products>() {
    let (x, w) = (single(&normal(1, &[45, 333])), normal(2, &[75, 333]));
    let (image, kernel) = (single(&normal(3, &[2, 9, 11, 37])), normal(4, &[40, 37, 3, 3]));
    let run = || {
        let conv = P::made(|| Conv2d::new(&kernel, None, SAME, P::STORAGE).unwrap());
        (bits(&linear::<P>(&w).forward(&x).unwrap()), bits(&conv.forward(&image).unwrap()))
    };
    if level() != Level::Reference {
        assert!(run() == with_level(Level::Scalar, run));
    }
}
