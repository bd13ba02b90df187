//! The reference bodies against hand-made values, so that every other test may trust them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use nd_kernels::cpu::{with_level, Level};
use nd_kernels::*;

const CPU: Device = Device::Cpu;

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::new(values, &CPU).unwrap().reshape(shape).unwrap()
}

fn near(got: &Tensor, want: &[f64]) {
    let got = got.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(got.len(), want.len(), "{got:?}");
    // Hand-made values carry seven digits.
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?} != {want:?}");
}

fn reference(f: impl FnOnce()) {
    with_level(Level::Reference, f)
}

#[test]
fn activations() {
    reference(|| {
        let x = tensor(&[-2.0, 0.0, 1.0], &[3]);
        near(&activation(&x, Activation::Silu).unwrap(), &[-0.2384058, 0.0, 0.7310586]);
        near(&activation(&x, Activation::Gelu).unwrap(), &[-0.0455003, 0.0, 0.8413447]);
        near(&activation(&x, Activation::GeluTanh).unwrap(), &[-0.0454023, 0.0, 0.8411920]);
        near(&activation(&x, Activation::QuickGelu).unwrap(), &[-0.0643416, 0.0, 0.8457958]);
        near(&activation(&x, Activation::Relu).unwrap(), &[0.0, 0.0, 1.0]);
        near(&activation(&x, Activation::Mish).unwrap(), &[-0.2525015, 0.0, 0.8650984]);
    });
}

#[test]
fn linear_with_epilogue() {
    reference(|| {
        let (w, b) = (tensor(&[1.0, 2.0, 3.0, -1.0, 0.5, 0.0], &[2, 3]), tensor(&[0.5, -0.5], &[2]));
        let linear = Linear::new(&w, Some(&b), DType::F64).unwrap();
        let x = tensor(&[1.0, 1.0, 1.0, 0.0, 2.0, -1.0], &[2, 1, 3]);
        near(&linear.forward(&x).unwrap(), &[6.5, -1.0, 1.5, 0.5]);
        let (per_sample, residual) = (tensor(&[1.0, 0.0, 0.0, -2.0], &[2, 2]), tensor(&[10.0, 20.0, 30.0, 40.0], &[2, 1, 2]));
        let epilogue = Epilogue { residual: Some(&residual), per_sample: Some(&per_sample), activation: Some(Activation::Relu), scale: 2.0 };
        near(&linear.forward_with(&x, &epilogue).unwrap(), &[25.0, 20.0, 33.0, 40.0]);
        assert!(linear.forward(&tensor(&[1.0], &[1, 1])).unwrap_err().to_string().contains("Expected shape (.., 3) for x but received [1, 1]"));
    });
}

#[test]
fn geglu() {
    reference(|| {
        let w = tensor(&[1.0, 2.0, 3.0, 1.0], &[4, 1]);
        near(&Geglu::new(&w, None, DType::F64).unwrap().forward(&tensor(&[1.0], &[1, 1])).unwrap(), &[2.9959503, 2.0 * 0.8413447]);
    });
}

#[test]
fn convolution() {
    reference(|| {
        let x = tensor(&[1.0, 2.0, 3.0, 4.0], &[1, 2, 2, 1]);
        let w = tensor(&(1..=9).map(f64::from).collect::<Vec<_>>(), &[1, 1, 3, 3]);
        let same = Conv2dConfig { stride: 1, padding: Padding::Same(1) };
        let conv = Conv2d::new(&w, None, same, DType::F64).unwrap();
        near(&conv.forward(&x).unwrap(), &[77.0, 67.0, 47.0, 37.0]);
        let corner = Conv2dConfig { stride: 2, padding: Padding::Asymmetric { top: 0, left: 0, bottom: 1, right: 1 } };
        near(&Conv2d::new(&w, None, corner, DType::F64).unwrap().forward(&x).unwrap(), &[37.0]);
        // 2x2 -> 3x3 by nearest: sources 0, 0, 1.
        let whole = Conv2d::new(&tensor(&[1.0], &[1, 1, 1, 1]), None, Conv2dConfig::default(), DType::F64).unwrap();
        near(&whole.forward_upsampled(&x, (3, 3), &Epilogue::default()).unwrap(), &[1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
        let two = Conv2d::new(&tensor(&[1.0, 10.0], &[1, 2, 1, 1]), None, Conv2dConfig::default(), DType::F64).unwrap();
        near(&two.forward_concat(&x, &x, &Epilogue::default()).unwrap(), &[11.0, 22.0, 33.0, 44.0]);
    });
}

#[test]
fn norms() {
    reference(|| {
        let x = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 10.0], &[1, 3, 2]);
        let (w, b) = (tensor(&[1.0, 2.0], &[2]), tensor(&[0.0, 1.0], &[2]));
        let s = (8.0f64 / 3.0).sqrt();
        let t = (104.0f64 / 9.0).sqrt();
        let want =
            [-2.0 / s, 2.0 * (2.0 - 16.0 / 3.0) / t + 1.0, 0.0, 2.0 * (4.0 - 16.0 / 3.0) / t + 1.0, 2.0 / s, 2.0 * (10.0 - 16.0 / 3.0) / t + 1.0];
        let norm = GroupNorm::new(&w, &b, 2, 0.0).unwrap();
        near(&norm.forward(&x, None).unwrap(), &want);
        let (scale, shift) = (tensor(&[1.0, 0.0], &[1, 2]), tensor(&[0.5, 0.0], &[1, 2]));
        let moved: Vec<f64> = want.iter().enumerate().map(|(i, v)| if i % 2 == 0 { 2.0 * v + 0.5 } else { *v }).collect();
        near(&norm.forward_scale_shift(&x, &scale, &shift, None).unwrap(), &moved);
        let (a, c) = (x.narrow(2, 0, 1).unwrap(), x.narrow(2, 1, 1).unwrap());
        near(&norm.forward_concat(&a, &c, None).unwrap(), &want);
        near(&LayerNorm::new(&w, &b, 0.0).unwrap().forward(&x).unwrap(), &[-1.0, 3.0, -1.0, 3.0, -1.0, 3.0]);
    });
}

#[test]
fn attention_masks() {
    reference(|| {
        // Two heads of one channel; equal scores average the values.
        let (q, v) = (tensor(&[0.0; 4], &[1, 2, 2]), tensor(&[1.0, 10.0, 3.0, 30.0], &[1, 2, 2]));
        near(&attention(&q, &v, &v, Heads::new(2, 1.0, DType::F32), Mask::None).unwrap(), &[2.0, 20.0, 2.0, 20.0]);
        near(&attention(&q, &v, &v, Heads::new(2, 1.0, DType::F32), Mask::Causal).unwrap(), &[1.0, 10.0, 2.0, 20.0]);
        let bias = tensor(&[0.0, 3f64.ln()], &[1, 1, 1, 2]);
        near(&attention(&q, &v, &v, Heads::new(2, 1.0, DType::F32), Mask::Bias(&bias)).unwrap(), &[2.5, 25.0, 2.5, 25.0]);
        assert!(attention(&q, &v, &v, Heads::new(3, 1.0, DType::F32), Mask::None).is_err());
    });
}

#[test]
fn layouts_and_combinations() {
    reference(|| {
        let x = tensor(&[1.0, 2.0, 3.0, 4.0], &[1, 2, 1, 2]);
        let y = nchw_to_nhwc(&x).unwrap();
        assert_eq!(y.dims(), [1, 1, 2, 2]);
        near(&y, &[1.0, 3.0, 2.0, 4.0]);
        near(&nhwc_to_nchw(&y).unwrap(), &[1.0, 2.0, 3.0, 4.0]);
        near(&linear_combination(&[(2.0, &x), (-1.0, &x)]).unwrap(), &[1.0, 2.0, 3.0, 4.0]);
        assert!(linear_combination(&[]).is_err());
    });
}
