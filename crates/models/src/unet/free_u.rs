use crate::error::{ModelError, Result};
use candle_core::{Device, Tensor};

/// Factors of FreeU: `b1`, `b2` amplify the backbone and `s1`, `s2` attenuate the skips of the first and second up block.
/// Source: arXiv:2309.11497; diffusers torch_utils.py `apply_freeu`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreeUFactors {
    pub s1: f64,
    pub s2: f64,
    pub b1: f64,
    pub b2: f64,
}

impl FreeUFactors {
    /// Refuses factors that are not finite.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("s1", self.s1), ("s2", self.s2), ("b1", self.b1), ("b2", self.b2)] {
            if !value.is_finite() {
                return Err(ModelError::argument(name, "a finite number", value));
            }
        }
        Ok(())
    }

    /// The factors of one up block; none after the second, and none at all when a factor is 0, as in diffusers.
    pub(crate) fn of_block(&self, index: usize) -> Option<FreeU> {
        if [self.s1, self.s2, self.b1, self.b2].contains(&0.0) {
            return None;
        }
        match index {
            0 => Some(FreeU { backbone: self.b1, skip: self.s1 }),
            1 => Some(FreeU { backbone: self.b2, skip: self.s2 }),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct FreeU {
    backbone: f64,
    skip: f64,
}

impl FreeU {
    /// x and skip, (B, H, W, C) each -> the same with the first half of x's channels and the low frequencies of skip scaled.
    pub fn apply(&self, x: &Tensor, skip: &Tensor) -> Result<(Tensor, Tensor)> {
        let channels = x.dim(3)?;
        let half = channels / 2;
        let scaled = (x.narrow(3, 0, half)? * self.backbone)?;
        let x = Tensor::cat(&[&scaled, &x.narrow(3, half, channels - half)?.contiguous()?], 3)?;
        Ok((x, scale_low_frequencies(skip, self.skip)?))
    }
}

/// Scales the four lowest frequencies, 0 and -1 in each direction, and keeps the real part: x + (scale - 1) Re(P x), where P projects on them.
fn scale_low_frequencies(x: &Tensor, scale: f64) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    let (rows, columns) = (low_pass(height), low_pass(width));
    let real = (project(x, &rows.0, &columns.0)? - project(x, &rows.1, &columns.1)?)?;
    Ok((x + (real * (scale - 1.0))?)?)
}

/// The complex projection on frequencies 0 and -1 of n points, as real and imaginary matrices (n, n):
/// P[a, b] = (1 + exp(-2 pi i (a - b) / n)) / n; for one point there is frequency 0 only.
fn low_pass(n: usize) -> (Vec<f32>, Vec<f32>) {
    let entry = |a: usize, b: usize| {
        if n == 1 {
            return (1.0, 0.0);
        }
        let angle = -std::f64::consts::TAU * (a as f64 - b as f64) / n as f64;
        (((1.0 + angle.cos()) / n as f64) as f32, (angle.sin() / n as f64) as f32)
    };
    (0..n * n).map(|i| entry(i / n, i % n)).unzip()
}

/// rows * x * columns over the two spatial dimensions of x (B, H, W, C).
fn project(x: &Tensor, rows: &[f32], columns: &[f32]) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let matrix = |values: &[f32], n: usize| Tensor::from_slice(values, (n, n), &Device::Cpu)?.to_device(x.device());
    let by_rows = matrix(rows, height)?.broadcast_left(batch)?.contiguous()?.matmul(&x.reshape((batch, height, width * channels))?)?;
    let by_columns = matrix(columns, width)?.broadcast_left(batch * height)?.contiguous()?;
    let out = by_columns.matmul(&by_rows.reshape((batch * height, width, channels))?)?;
    Ok(out.reshape((batch, height, width, channels))?)
}
