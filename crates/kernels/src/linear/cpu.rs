use crate::buffer::{dense, output, to_vec, View};
use crate::cpu::Level;
use crate::gemm::{gemm, Finish, Packed, Source, Strided};
use crate::Epilogue;
use candle_core::{DType, Result, Tensor};

/// A packed weight matrix with its bias.
pub(crate) struct Body {
    packed: Packed,
    bias: Option<Vec<f32>>,
}

impl Body {
    /// From (out, in); a gated one from values and gates (2 * out, in).
    pub fn new(level: Level, weight: &Tensor, bias: Option<&Tensor>, storage: DType, gated: bool) -> Result<Self> {
        let (rows, inner) = weight.dims2()?;
        let weight = dense(weight)?;
        let view = View::new(&weight);
        let values = view.slice()?;
        let n = if gated { rows / 2 } else { rows };
        let source = Source { widths: &[inner], n, gated, value: |_, k, column| values[column * inner + k] };
        Ok(Self { packed: Packed::new(level, storage, &source)?, bias: bias.map(to_vec).transpose()? })
    }

    /// x (.., in) -> `shape` (.., out), in x's dtype.
    pub fn forward(&self, x: &Tensor, shape: &[usize], epilogue: &Epilogue) -> Result<Tensor> {
        let input = dense(x)?;
        let rows = input.elem_count() / self.packed.k.max(1);
        let view = View::new(&input);
        let a = Strided { data: view.slice()?, width: self.packed.k };
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
        };
        // SAFETY: the product writes every row and column.
        unsafe { output(shape, |out| gemm(&a, rows, &self.packed, &finish(out))) }?.to_dtype(x.dtype())
    }

    /// Memory held by the weights.
    pub fn bytes(&self) -> usize {
        self.packed.bytes()
    }
}
