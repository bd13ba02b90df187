//! Element-wise activations.

mod cpu;

use candle_core::{Result, Tensor};

/// The activations of diffusers' and transformers' configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)`, the exact (erf) form.
    Gelu,
    /// GELU by `tanh`, arXiv:1606.08415 section 2.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, CLIP's.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * tanh(ln(1 + e^x))`.
    Mish,
}

impl Activation {
    /// In candle ops.
    pub(crate) fn reference(self, x: &Tensor) -> Result<Tensor> {
        let sigmoid = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.recip();
        match self {
            Self::Silu => x * sigmoid(x)?,
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::QuickGelu => x * sigmoid(&(x * 1.702)?)?,
            Self::Relu => x.relu(),
            // softplus(x) = max(x, 0) + ln(1 + e^-|x|) does not overflow.
            Self::Mish => x * (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?.tanh()?,
        }
    }
}

/// Applies an activation to every element. Shapes: any.
pub fn activation(x: &Tensor, a: Activation) -> Result<Tensor> {
    let _op = crate::profile::op("activation", || (format!("{:?}", x.dims()), 0.0));
    match crate::cpu::ours(x.device(), x.dtype()) {
        Some(level) => cpu::activation(level, x, a),
        None => a.reference(x),
    }
}
