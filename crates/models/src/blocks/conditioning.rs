use super::kv_cache::KvEntry;
use crate::cancel::CancelToken;
use candle_core::Tensor;

/// The time embedding of one forward pass, (B, D).
pub(crate) struct TimeEmbedding {
    pub raw: Tensor,
    /// After the blocks' activation, which every resnet would otherwise apply again.
    pub activated: Tensor,
}

/// What every block of one forward pass is conditioned on.
pub(crate) struct Conditioning<'a> {
    pub time: &'a TimeEmbedding,
    /// Text (B, S, D).
    pub context: &'a Tensor,
    /// Additive attention bias (B, 1, 1, S) over the text.
    pub context_bias: Option<&'a Tensor>,
    /// Keys and values of the text that were computed before.
    pub kv: &'a KvEntry,
    pub cancel: &'a CancelToken,
}
