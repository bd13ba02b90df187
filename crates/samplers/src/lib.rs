//! Samplers as immutable plans: pure f64 mathematics, no tensors.
