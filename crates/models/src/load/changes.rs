use crate::error::Result;
use candle_core::Tensor;
use nd_kernels::LowRank;

/// What changes weights on their way into the layers of a model that shares all others.
pub(crate) trait Changes {
    /// Whether the weight of this checkpoint key is changed.
    fn touch(&self, key: &str) -> bool;
    /// Products that are the whole change of a weight (out, ..); `None` where there is more to it.
    fn products(&self, key: &str) -> Result<Option<Vec<LowRank>>>;
    /// The changed weight, in f32.
    fn apply(&self, key: &str, weight: Tensor) -> Result<Tensor>;
}
