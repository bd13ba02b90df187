use candle_core::{DType, Result, Tensor, D};

/// Adding and subtracting 1.5 * 2^23 rounds an f32 below 2^22 to the nearest whole number, ties to even, as the CPU body does.
const ROUND: f64 = 12_582_912.0;

/// The numbers of x (.., K) that bytes with one scale per row stand for, in candle ops. The bytes come from f32 arithmetic whatever x is, so they are those
/// that the CPU body multiplies.
pub(crate) fn rounded(x: &Tensor) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    // A row of zeros stays one.
    let largest = wide.abs()?.max_keepdim(D::Minus1)?.maximum(1e-30)?;
    let inverse = largest.ones_like()?.affine(127.0, 0.0)?.div(&largest)?;
    let bytes = ((wide.broadcast_mul(&inverse)? + ROUND)? - ROUND)?;
    bytes.to_dtype(x.dtype())?.broadcast_mul(&(largest / 127.0)?.to_dtype(x.dtype())?)
}
