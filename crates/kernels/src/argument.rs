//! Checks of arguments, all in the one sentence `Expected <what> for <name> but received <value>`.

use candle_core::{bail, DType, Result, Tensor};

/// Fails unless `holds`.
pub(crate) fn expect(holds: bool, what: &str, name: &str, value: impl std::fmt::Debug) -> Result<()> {
    if !holds {
        bail!("Expected {what} for {name} but received {value:?}")
    }
    Ok(())
}

/// Fails unless `x` has exactly this shape.
pub(crate) fn expect_shape(x: &Tensor, shape: &[usize], name: &str) -> Result<()> {
    expect(x.dims() == shape, &format!("shape {shape:?}"), name, x.dims())
}

/// The four sizes of an image tensor.
pub(crate) fn image(x: &Tensor, name: &str) -> Result<(usize, usize, usize, usize)> {
    expect(x.rank() == 4, "four dimensions (B, H, W, C)", name, x.dims())?;
    x.dims4()
}

/// The dtype that norms and softmax compute in: half precisions are widened.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}
