use super::added::Part;
use super::bpe::WordCache;
use super::text::{for_each_word, normalize};
use super::{ClipTokenizer, PaddingSide, SpecialTokens};
use crate::error::{ModelError, Result};

/// How short texts are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// To the longest text of the batch.
    Longest,
    /// To `max_length`.
    MaxLength,
}

/// Options of `encode_batch`; the default is neither padded nor truncated, with start and end tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// How short texts are filled, with the tokenizer's own pad token.
    pub padding: Padding,
    /// Whether long texts are cut to `max_length`; the end token is kept.
    pub truncation: bool,
    /// Length for padding and truncation; default the model's, 77.
    pub max_length: Option<usize>,
    /// Whether the start and end tokens are put around each text.
    pub add_special: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { padding: Padding::None, truncation: false, max_length: None, add_special: true }
    }
}

impl EncodeOptions {
    /// What Stable Diffusion's pipelines use: cut and filled to the model's length.
    pub fn for_model() -> Self {
        Self { padding: Padding::MaxLength, truncation: true, ..Self::default() }
    }
}

/// The texts of a batch as token ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// One row for each text; all of one length if padded.
    pub ids: Vec<Vec<u32>>,
    /// 1 for tokens of the text, 0 for padding; the same shape as `ids`.
    pub attention_mask: Vec<Vec<u32>>,
    /// For each text the part that truncation cut away, as diffusers words its warning; `None` where nothing was cut.
    pub truncated: Vec<Option<String>>,
}

impl ClipTokenizer {
    /// The ids of one text between start and end token, neither padded nor truncated.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.around(self.encode_plain(text)?, EncodeOptions::default()))
    }

    /// The tokens of one text without start and end.
    pub fn tokenize(&self, text: &str) -> Result<Vec<String>> {
        self.convert_ids_to_tokens(&self.encode_plain(text)?)
    }

    /// The ids of several texts, padded and truncated as the options say. Errors: a `max_length` that leaves no room for start and end.
    pub fn encode_batch<S: AsRef<str>>(&self, texts: &[S], options: EncodeOptions) -> Result<Encoding> {
        let max_length = options.max_length.unwrap_or(self.max_length);
        let least = if options.add_special { 2 } else { 0 };
        let limited = options.truncation || options.padding == Padding::MaxLength;
        if limited && max_length < least {
            return Err(ModelError::argument("max_length", format!("an integer of at least {least}"), max_length));
        }
        let mut result = Encoding::default();
        for text in texts {
            let mut ids = self.encode_plain(text.as_ref())?;
            let room = max_length.saturating_sub(least);
            let lost = (options.truncation && ids.len() > room).then(|| ids.split_off(room));
            result.truncated.push(lost.map(|lost| self.decode(&lost, SpecialTokens::Keep)));
            let ids = self.around(ids, options);
            result.attention_mask.push(vec![1; ids.len()]);
            result.ids.push(ids);
        }
        let length = match options.padding {
            Padding::None => 0,
            Padding::Longest => result.ids.iter().map(Vec::len).max().unwrap_or(0),
            Padding::MaxLength => max_length,
        };
        for (ids, mask) in result.ids.iter_mut().zip(&mut result.attention_mask) {
            self.pad(ids, length, self.special.pad);
            self.pad(mask, length, 0);
        }
        Ok(result)
    }

    fn around(&self, ids: Vec<u32>, options: EncodeOptions) -> Vec<u32> {
        if !options.add_special {
            return ids;
        }
        let mut out = Vec::with_capacity(ids.len() + 2);
        out.push(self.special.bos);
        out.extend(ids);
        out.push(self.special.eos);
        out
    }

    fn pad(&self, row: &mut Vec<u32>, length: usize, value: u32) {
        let missing = length.saturating_sub(row.len());
        match self.padding_side {
            PaddingSide::Right => row.resize(row.len() + missing, value),
            PaddingSide::Left => drop(row.splice(0..0, std::iter::repeat_n(value, missing))),
        }
    }

    fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut cache = self.bpe.cache();
        for part in self.added.split_raw(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(raw) => {
                    let text = normalize(raw);
                    for part in self.added.split_normalized(&text) {
                        match part {
                            Part::Token(id) => ids.push(id),
                            Part::Text(text) => self.encode_words(text, &mut cache, &mut ids)?,
                        }
                    }
                }
            }
        }
        Ok(ids)
    }

    fn encode_words(&self, text: &str, cache: &mut WordCache, ids: &mut Vec<u32>) -> Result<()> {
        for_each_word(text, |word| self.bpe.encode_word(word, Some(self.special.unk), cache, ids))
    }
}
