//! CLIP, UNet2DConditionModel, AutoencoderKL, the tokenizer, weights and random numbers.
