use crate::buffer::{dense, output, to_vec, View};
use crate::cpu::Level;
use crate::gemm::{gemm, rounded, Finish, Matrix, Packed, Strided};
use crate::{Epilogue, Storage, Weight};
use candle_core::{Result, Tensor};

/// A packed weight matrix with its bias.
pub(crate) struct Body {
    packed: Packed,
    in_features: usize,
    bias: Option<Vec<f32>>,
}

impl Body {
    /// From (out, in), or (out, in, 1, 1); a gated one from values and gates (2 * out, in).
    pub fn new(level: Level, weight: Weight, bias: Option<&Tensor>, storage: Storage, gated: bool) -> Result<Self> {
        let (rows, channels) = (weight.dims()[0], weight.dims()[1]);
        let n = if gated { rows / 2 } else { rows };
        let packed = weight.read(|numbers| Packed::new(level, storage, &Matrix { numbers, sets: 1, channels, n, gated }))?;
        Ok(Self { packed, in_features: channels, bias: bias.map(to_vec).transpose()? })
    }

    /// x (.., in) -> `shape` (.., out), in x's dtype.
    pub fn forward(&self, x: &Tensor, shape: &[usize], epilogue: &Epilogue) -> Result<Tensor> {
        let input = dense(x)?;
        let rows = input.elem_count() / self.in_features.max(1);
        let view = View::new(&input);
        let data = view.slice()?;
        let per_sample = epilogue.per_sample.map(dense).transpose()?;
        let residual = epilogue.residual.map(dense).transpose()?;
        let (per_sample, residual) = (per_sample.as_ref().map(View::new), residual.as_ref().map(View::new));
        let (per_sample, residual) = (per_sample.as_ref().map(View::slice).transpose()?, residual.as_ref().map(View::slice).transpose()?);
        let finish = |out| Finish {
            out,
            n: self.packed.n,
            bias: self.bias.as_deref(),
            per_sample: per_sample.map(|values| (values, rows / shape[0].max(1))),
            activation: epilogue.activation,
            scale: epilogue.scale,
            residual,
            phase: None,
            streamed: false,
        };
        let multiply = |out| {
            rounded(&self.packed, &[(data, self.in_features)], rows, rows, |sources, scales| {
                let (data, width) = sources[0];
                gemm(&Strided { data, width, scales }, rows, &self.packed, &finish(out))
            })
        };
        // SAFETY: the product writes every row and column.
        unsafe { output(shape, multiply) }?.to_dtype(x.dtype())
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        self.packed.bytes()
    }
}
