//! Blocks shared by UNets, ControlNets and autoencoders; activations are channels-last f32.

pub(crate) mod activation_name;
pub(crate) mod added_kv_attention;
pub(crate) mod attention;
pub(crate) mod conditioning;
pub(crate) mod embeddings;
pub(crate) mod k_attention;
pub(crate) mod k_resample;
pub(crate) mod k_resnet;
pub(crate) mod kv_cache;
pub(crate) mod repeated;
pub(crate) mod resample;
pub(crate) mod resnet;
pub(crate) mod transformer;
