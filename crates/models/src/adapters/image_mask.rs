use crate::error::{ModelError, Result};
use candle_core::{DType, Tensor};

/// Parameter of the cubic kernel. Source: torch aten/src/ATen/native/UpSample.h `cubic_convolution1`.
const CUBIC: f64 = -0.75;

/// The part of an image mask (1, N, H, W) that belongs to image `index`, at the resolution of `queries` tokens -> (1, queries, 1).
/// Source: diffusers image_processor.py `IPAdapterMaskProcessor.downsample`.
pub fn downsample(mask: &Tensor, index: usize, queries: usize) -> Result<Tensor> {
    let (_, _, height, width) = mask.dims4()?;
    let plane: Vec<Vec<f32>> = mask.get(0)?.get(index)?.to_dtype(DType::F32)?.to_vec2()?;
    let ratio = width as f64 / height as f64;
    let rows = (queries as f64 / ratio).sqrt() as usize;
    if rows == 0 {
        return Err(ModelError::shape("ip_adapter_masks", format!("a mask that {queries} tokens can follow"), mask));
    }
    let rows = rows + usize::from(!queries.is_multiple_of(rows));
    let columns = queries / rows;
    let (vertical, horizontal) = (taps(height, rows), taps(width, columns));
    let mut values = Vec::with_capacity(queries);
    for row in &vertical {
        for column in &horizontal {
            let line = |y: usize| column.iter().map(|&(x, weight)| f64::from(plane[y][x]) * weight).sum::<f64>();
            values.push(row.iter().map(|&(y, weight)| line(y) * weight).sum::<f64>() as f32);
        }
    }
    values.resize(queries, 0.0);
    Ok(Tensor::from_vec(values, (1, queries, 1), mask.device())?)
}

/// For each output position of a bicubic resize the four inputs and their weights; `align_corners` off, no antialiasing.
fn taps(input: usize, output: usize) -> Vec<[(usize, f64); 4]> {
    let scale = input as f64 / output as f64;
    let position = |i: usize| (i as f64 + 0.5) * scale - 0.5;
    let near = |x: f64| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    (0..output)
        .map(|i| {
            let base = position(i).floor();
            let t = position(i) - base;
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            std::array::from_fn(|k| ((base as isize - 1 + k as isize).clamp(0, input as isize - 1) as usize, weights[k]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn taps_sum_to_one() {
        for row in taps(64, 7) {
            assert!((row.iter().map(|(_, w)| w).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
