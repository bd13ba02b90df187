use super::ScaleShift;
use crate::argument::wide;
use crate::conv2d::resize_nearest;
use crate::Activation;
use candle_core::{Result, Tensor, D};

/// Weights as they came.
#[derive(Clone)]
pub(super) struct Plain {
    pub weight: Tensor,
    pub bias: Tensor,
    pub groups: usize,
    pub eps: f64,
}

impl Plain {
    /// In candle ops; half precisions compute in f32.
    pub fn forward(&self, inputs: &[&Tensor], scale_shift: ScaleShift, activation: Option<Activation>) -> Result<Tensor> {
        let x = if inputs.len() == 1 { inputs[0].clone() } else { Tensor::cat(inputs, D::Minus1)? };
        let (batch, channels, dtype) = (x.dims()[0], self.weight.dims()[0], wide(x.dtype()));
        let grouped = x.to_dtype(dtype)?.reshape((batch, (), self.groups, channels / self.groups))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim((1, 3))?)?;
        let variance = centred.sqr()?.mean_keepdim((1, 3))?;
        let y = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?.reshape((batch, (), channels))?;
        let y = y.broadcast_mul(&self.weight.to_dtype(dtype)?)?.broadcast_add(&self.bias.to_dtype(dtype)?)?;
        let y = match scale_shift {
            Some((scale, shift)) => {
                let row = |t: &Tensor| t.to_dtype(dtype)?.unsqueeze(1);
                y.broadcast_mul(&(row(scale)? + 1.0)?)?.broadcast_add(&row(shift)?)?
            }
            None => y,
        };
        let y = match activation {
            Some(activation) => activation.reference(&y)?,
            None => y,
        };
        y.reshape(x.dims())?.to_dtype(x.dtype())
    }

    /// As `forward`, then the maps at the size of x.
    pub fn forward_map(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        let (dtype, size) = (wide(x.dtype()), (x.dims()[1], x.dims()[2]));
        let map = |t: &Tensor| resize_nearest(&t.to_dtype(dtype)?, size);
        let y = self.forward(&[&x.to_dtype(dtype)?], None, None)?;
        let y = ((y * map(scale)?)? + map(shift)?)?;
        match activation {
            Some(activation) => activation.reference(&y)?.to_dtype(x.dtype()),
            None => y.to_dtype(x.dtype()),
        }
    }
}
