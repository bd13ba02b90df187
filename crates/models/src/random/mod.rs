//! Torch-compatible random numbers.
