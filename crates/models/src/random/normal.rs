use super::mt19937::Mt19937;
use super::samples::Precision;
use std::f64::consts::TAU;

/// From this many elements on torch fills in blocks of 16 instead of drawing one value after the other.
const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;

/// One normal by Box-Muller in f64; its twin stays in `cached` for the next call. Source: torch DistributionsHelper.h `normal_distribution`.
fn scalar(engine: &mut Mt19937, cached: &mut Option<f64>) -> f64 {
    if let Some(value) = cached.take() {
        return value;
    }
    let (u1, u2) = (engine.uniform_f64(), engine.uniform_f64());
    let (radius, theta) = ((-2.0 * (-u2).ln_1p()).sqrt(), TAU * u1);
    *cached = Some(radius * theta.sin());
    radius * theta.cos()
}

/// Fills `out` with standard normals in f64, before scaling and rounding. Source: torch aten/src/ATen/native/cpu/DistributionTemplates.h `normal_fill`.
///
/// Fewer than 16 take the scalar path; otherwise f32 and f64 draw all uniforms first, f16 and bf16 block by block,
/// and where 16 does not divide the length the last 16 are drawn anew.
pub(super) fn fill(engine: &mut Mt19937, cached: &mut Option<f64>, precision: Precision, out: &mut [f64]) {
    if out.len() < BLOCK {
        out.iter_mut().for_each(|value| *value = scalar(engine, cached));
        return;
    }
    let whole = match precision {
        Precision::F32 | Precision::F64 => out.len(),
        Precision::F16 | Precision::Bf16 => out.len() - out.len() % BLOCK,
    };
    out[..whole].iter_mut().for_each(|value| *value = uniform(engine, precision));
    out.chunks_exact_mut(BLOCK).for_each(transform);
    if !out.len().is_multiple_of(BLOCK) {
        let tail = out.len() - BLOCK;
        out[tail..].iter_mut().for_each(|value| *value = uniform(engine, precision));
        transform(&mut out[tail..]);
    }
}

fn uniform(engine: &mut Mt19937, precision: Precision) -> f64 {
    match precision {
        Precision::F64 => engine.uniform_f64(),
        Precision::F32 | Precision::F16 | Precision::Bf16 => f64::from(engine.uniform_f32()),
    }
}

/// 16 uniforms to 16 normals, the first half with the second. The f32 path of torch has its own approximations of ln, sin and cos,
/// which differ from these exact values by up to 1.5e-6.
fn transform(block: &mut [f64]) {
    let (first, second) = block.split_at_mut(HALF);
    for (a, b) in first.iter_mut().zip(second) {
        let (radius, theta) = ((-2.0 * (1.0 - *a).ln()).sqrt(), TAU * *b);
        (*a, *b) = (radius * theta.cos(), radius * theta.sin());
    }
}
