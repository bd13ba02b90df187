use crate::error::{ModelError, Result};
use nd_kernels::Activation;

/// The activation of a diffusers config name. Source: diffusers activations.py `ACT2CLS`.
pub(crate) fn activation_name(key: &str, name: &str) -> Result<Activation> {
    match name.to_lowercase().as_str() {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "mish" => Ok(Activation::Mish),
        "relu" => Ok(Activation::Relu),
        _ => Err(ModelError::config(key, "silu, swish, gelu, mish or relu", name)),
    }
}
