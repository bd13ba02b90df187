use super::unet_keys::number;

/// The two networks of TAESD, which its own files keep apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Half {
    Encoder,
    Decoder,
}

/// The half that keys without a side belong to: an encoder begins with a convolution, a decoder with a layer that has no weights.
pub(super) fn half<'k>(mut keys: impl Iterator<Item = &'k str>) -> Half {
    if keys.any(|key| key == "0.weight") {
        Half::Encoder
    } else {
        Half::Decoder
    }
}

/// The name in diffusers of a key of TAESD's own files: `encoder.0.weight`, or `0.weight` in a file of one half.
/// Source: taesd.py `Encoder`, `Decoder`; diffusers vae.py `EncoderTiny`, `DecoderTiny`, which has no first layer that clamps.
pub(super) fn to_diffusers(key: &str, half: Half) -> Option<String> {
    let (half, key) = match key.split_once('.') {
        Some(("encoder", rest)) => (Half::Encoder, rest),
        Some(("decoder", rest)) => (Half::Decoder, rest),
        _ => (half, key),
    };
    let (layer, rest) = number(key)?;
    match half {
        Half::Encoder => Some(format!("encoder.layers.{layer}.{rest}")),
        Half::Decoder => Some(format!("decoder.layers.{}.{rest}", layer.checked_sub(1)?)),
    }
}
