//! CLIP's byte-pair tokenizer, exactly as transformers' `CLIPTokenizer` (5.x) tokenizes: no ftfy, no HTML entities.

mod added;
mod bpe;
mod bytes;
mod decode;
mod encode;
mod files;
mod prompt;
mod special;
mod text;

use crate::error::{ModelError, Result};
use added::{AddedToken, AddedTokens};
use bpe::Bpe;
pub use decode::SpecialTokens;
pub use encode::{EncodeOptions, Encoding, Padding};
use files::TokenizerFiles;
use serde_json::Value;
use special::SpecialIds;
use std::path::Path;
use std::sync::Arc;

/// The length that CLIP's text encoders have; used where a config names none.
const DEFAULT_MAX_LENGTH: usize = 77;
/// A larger `model_max_length` means "unlimited" in the files that transformers writes.
const UNLIMITED: f64 = 1e6;

/// A CLIP tokenizer; clones share the vocabulary and differ in their added tokens.
///
/// Source: transformers models/clip/tokenization_clip.py `CLIPTokenizer`.
#[derive(Clone, Debug)]
pub struct ClipTokenizer {
    bpe: Arc<Bpe>,
    added: AddedTokens,
    special: SpecialIds,
    max_length: usize,
    padding_side: PaddingSide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PaddingSide {
    Right,
    Left,
}

impl ClipTokenizer {
    /// Reads a tokenizer folder: `vocab.json` and `merges.txt`, else `tokenizer.json`, else `merges.txt` alone; beside them, all optional,
    /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.
    ///
    /// Errors: `Io` for a missing file, `Weights` for a damaged one, `Config` for a setting that is not supported.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::from_dirs(folder.as_ref(), folder.as_ref())
    }

    /// Reads the vocabulary of one folder and the small files of another, so that tokenizers can share a vocabulary.
    pub fn from_dirs(folder: impl AsRef<Path>, vocabulary: impl AsRef<Path>) -> Result<Self> {
        Self::from_parts(TokenizerFiles::read(folder.as_ref(), vocabulary.as_ref())?)
    }

    /// Reads the two vocabulary files alone, with CLIP's own special tokens and a length of 77.
    pub fn from_files(vocab: impl AsRef<Path>, merges: impl AsRef<Path>) -> Result<Self> {
        Self::from_parts(TokenizerFiles::read_vocabulary(vocab.as_ref(), merges.as_ref())?)
    }

    fn from_parts(files: TokenizerFiles) -> Result<Self> {
        let (added, special) = special::add_tokens_of(&files)?;
        let max_length = max_length(files.config.get("model_max_length"))?;
        let side = |key: &str| files.config.get(key).map_or("right", |value| value.as_str().unwrap_or_default());
        let padding_side = match side("padding_side") {
            "right" => PaddingSide::Right,
            "left" => PaddingSide::Left,
            other => return Err(ModelError::config("padding_side", "\"right\" or \"left\"", format!("{other:?}"))),
        };
        if side("truncation_side") != "right" {
            return Err(ModelError::config("truncation_side", "\"right\"", format!("{:?}", side("truncation_side"))));
        }
        Ok(Self { bpe: Arc::new(files.bpe), added, special, max_length, padding_side })
    }

    /// Adds plain tokens, as textual inversion does, and returns how many were new.
    ///
    /// They are found inside words and without regard to case; a content that the vocabulary has keeps its id, others get the next free ones.
    pub fn add_tokens<S: AsRef<str>>(&mut self, tokens: &[S]) -> Result<usize> {
        let tokens: Vec<AddedToken> = tokens.iter().map(|token| AddedToken::plain(token.as_ref())).collect();
        self.added.add(&tokens, &self.bpe)
    }

    /// Whether a token is in the vocabulary or was added.
    pub fn knows(&self, token: &str) -> bool {
        self.added.id(token).or_else(|| self.bpe.id(token)).is_some()
    }

    /// The ids of the vocabulary and of all added tokens: `len(tokenizer)` in transformers.
    pub fn len(&self) -> usize {
        self.bpe.len() + self.added.ids().filter(|&id| self.bpe.token(id).is_none()).count()
    }

    /// Whether there is no token at all; never true for a tokenizer that was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the vocabulary without added tokens.
    pub fn vocab_size(&self) -> usize {
        self.bpe.len()
    }

    /// The tokens that the text encoder takes, 77 for CLIP.
    pub fn model_max_length(&self) -> usize {
        self.max_length
    }

    /// The id before every text.
    pub fn bos_token_id(&self) -> u32 {
        self.special.bos
    }

    /// The id after every text.
    pub fn eos_token_id(&self) -> u32 {
        self.special.eos
    }

    /// The id that fills short texts: the end token in SD 1.x, `!` (0) in SD 2.x and SDXL's second tokenizer.
    pub fn pad_token_id(&self) -> u32 {
        self.special.pad
    }

    /// The id of a token that is not known.
    pub fn unk_token_id(&self) -> u32 {
        self.special.unk
    }
}

fn max_length(value: Option<&Value>) -> Result<usize> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(DEFAULT_MAX_LENGTH) };
    match value.as_f64() {
        Some(length) if length > UNLIMITED => Ok(DEFAULT_MAX_LENGTH),
        Some(length) if length >= 2.0 && length.fract() == 0.0 => Ok(length as usize),
        _ => Err(ModelError::config("model_max_length", "an integer of at least 2", value)),
    }
}
