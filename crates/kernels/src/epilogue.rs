use crate::argument::expect_shape;
use crate::Activation;
use candle_core::{Result, Tensor};

/// What follows a product while its result is still in registers: `scale * activation(product + bias + per_sample) + residual`.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// Added last; same shape as the output. Default: none.
    pub residual: Option<&'a Tensor>,
    /// `(B, C_out)`, added to every position of its sample before the activation. Default: none.
    pub per_sample: Option<&'a Tensor>,
    /// Default: none.
    pub activation: Option<Activation>,
    /// Multiplies everything but the residual. Default: 1.
    pub scale: f32,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { residual: None, per_sample: None, activation: None, scale: 1.0 }
    }
}

impl Epilogue<'_> {
    /// Fails unless the tensors fit an output of this shape, whose first dimension is the sample and last the channel.
    pub(crate) fn check(&self, output: &[usize]) -> Result<()> {
        if let Some(residual) = self.residual {
            expect_shape(residual, output, "residual")?;
        }
        if let (Some(per_sample), [batch, .., channels]) = (self.per_sample, output) {
            expect_shape(per_sample, &[*batch, *channels], "per_sample")?;
        }
        Ok(())
    }

    /// In candle ops, on the finished `product + bias`.
    pub(crate) fn reference(&self, y: Tensor) -> Result<Tensor> {
        let mut y = y;
        if let Some(per_sample) = self.per_sample {
            let (batch, channels) = per_sample.dims2()?;
            let mut shape = vec![1; y.rank()];
            (shape[0], shape[y.rank() - 1]) = (batch, channels);
            y = y.broadcast_add(&per_sample.to_dtype(y.dtype())?.reshape(shape)?)?;
        }
        if let Some(activation) = self.activation {
            y = activation.reference(&y)?;
        }
        if self.scale != 1.0 {
            y = (y * self.scale as f64)?;
        }
        match self.residual {
            Some(residual) => &y + residual.to_dtype(y.dtype())?,
            None => Ok(y),
        }
    }
}
