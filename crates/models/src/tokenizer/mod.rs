//! CLIP byte-pair tokenizer.
