use super::bpe::{Bpe, END_OF_WORD};
use super::bytes::char_of_byte;
use crate::error::{ModelError, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::Path;

/// What a tokenizer folder holds, before anything is interpreted.
#[derive(Debug)]
pub(super) struct TokenizerFiles {
    pub bpe: Bpe,
    pub config: Map<String, Value>,
    pub special_tokens_map: Map<String, Value>,
    pub added_tokens: Map<String, Value>,
    /// `added_tokens` of a `tokenizer.json`, each with its `id`.
    pub serialized_tokens: Vec<Value>,
}

impl TokenizerFiles {
    /// Reads `vocab.json` and `merges.txt`, or `tokenizer.json` where those are missing, of the folder `vocabulary`, and the small files of
    /// `folder`. Where the two are not the same, which is the shipped vocabulary, `merges.txt` alone will do.
    pub(super) fn read(folder: &Path, vocabulary: &Path) -> Result<Self> {
        let vocab = vocabulary.join("vocab.json");
        let single = vocabulary.join("tokenizer.json");
        let merges = vocabulary.join("merges.txt");
        let (bpe, serialized_tokens) = match (vocab.exists(), single.exists()) {
            (false, true) => read_single(&single)?,
            (false, false) if vocabulary != folder && merges.exists() => (read_merges(&merges)?, Vec::new()),
            _ => (read_pair(&vocab, &merges)?, Vec::new()),
        };
        Ok(Self {
            bpe,
            config: read_object(&folder.join("tokenizer_config.json"))?,
            special_tokens_map: read_object(&folder.join("special_tokens_map.json"))?,
            added_tokens: read_object(&folder.join("added_tokens.json"))?,
            serialized_tokens,
        })
    }

    /// Reads the two vocabulary files alone.
    pub(super) fn read_vocabulary(vocab: &Path, merges: &Path) -> Result<Self> {
        let (config, special_tokens_map, added_tokens) = (Map::new(), Map::new(), Map::new());
        let bpe = read_pair(vocab, merges)?;
        Ok(Self { bpe, config, special_tokens_map, added_tokens, serialized_tokens: Vec::new() })
    }
}

fn read_pair(vocab: &Path, merges: &Path) -> Result<Bpe> {
    let vocab_text = read_text(vocab)?;
    let Vocabulary(ids) = serde_json::from_str(&vocab_text).map_err(|error| damaged("a JSON object from tokens to ids", vocab, error))?;
    let merges_text = read_text(merges)?;
    let pairs = pairs(&merges_text, merges)?;
    Bpe::new(&ids, pairs.into_iter()).map_err(|error| ModelError::Weights(format!("{error} in {}", merges.display())))
}

fn pairs<'t>(text: &'t str, merges: &Path) -> Result<Vec<(&'t str, &'t str)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    let pair = |(number, line): (usize, &'t str)| {
        let pair = line.split_once(' ').filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '));
        pair.ok_or_else(|| damaged("two tokens on each line", merges, format!("{line:?} on line {}", number + 1)))
    };
    lines.map(pair).collect()
}

/// The vocabulary that CLIP's merges imply: the bytes, printable ones first, the same at the end of a word, each merge, start and end.
/// Source: openai/CLIP simple_tokenizer.py `SimpleTokenizer.__init__`.
fn read_merges(merges: &Path) -> Result<Bpe> {
    let text = read_text(merges)?;
    let pairs = pairs(&text, merges)?;
    let (printable, others): (Vec<u8>, Vec<u8>) = (0..=255u8).partition(|byte| char_of_byte(*byte) as u32 == u32::from(*byte));
    let bytes: Vec<String> = printable.into_iter().chain(others).map(|byte| char_of_byte(byte).to_string()).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    let joined = pairs.iter().map(|(left, right)| format!("{left}{right}"));
    let specials = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
    let ids: Vec<(String, u32)> = bytes.iter().cloned().chain(ends).chain(joined).chain(specials).zip(0..).collect();
    Bpe::new(&ids, pairs.into_iter()).map_err(|error| ModelError::Weights(format!("{error} in {}", merges.display())))
}

/// An object's entries in their order, borrowed from the text where they hold no escapes: a hash map would cost a third of the load.
struct Vocabulary<'f>(Vec<(Cow<'f, str>, u32)>);

impl<'de: 'f, 'f> Deserialize<'de> for Vocabulary<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(Cow<'de, str>, u32)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("an object from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(token), id)) = map.next_entry()? {
                    entries.push((token, id));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries).map(Vocabulary)
    }
}

/// A string, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'f>(#[serde(borrow)] Cow<'f, str>);

#[derive(serde::Deserialize)]
struct SingleFile<'f> {
    #[serde(default)]
    added_tokens: Vec<Value>,
    #[serde(borrow)]
    model: SingleModel<'f>,
}

#[derive(serde::Deserialize)]
struct SingleModel<'f> {
    end_of_word_suffix: Option<String>,
    #[serde(borrow)]
    vocab: Vocabulary<'f>,
    #[serde(borrow)]
    merges: Vec<SingleMerge<'f>>,
}

/// Older files write a merge as one string, newer ones as a pair.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum SingleMerge<'f> {
    Line(#[serde(borrow)] Cow<'f, str>),
    Pair(#[serde(borrow)] Cow<'f, str>, #[serde(borrow)] Cow<'f, str>),
}

fn read_single(path: &Path) -> Result<(Bpe, Vec<Value>)> {
    let text = read_text(path)?;
    let file: SingleFile = serde_json::from_str(&text).map_err(|error| damaged("a byte-pair tokenizer", path, error))?;
    let suffix = file.model.end_of_word_suffix.unwrap_or_default();
    if suffix != END_OF_WORD {
        return Err(ModelError::config("end_of_word_suffix", format!("{END_OF_WORD:?}"), format!("{suffix:?}")));
    }
    let pairs = file.model.merges.iter().map(|merge| match merge {
        SingleMerge::Line(line) => line.split_once(' ').ok_or_else(|| damaged("two tokens in each merge", path, format!("{line:?}"))),
        SingleMerge::Pair(left, right) => Ok((left.as_ref(), right.as_ref())),
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let bpe = Bpe::new(&file.model.vocab.0, pairs.into_iter()).map_err(|error| ModelError::Weights(format!("{error} in {}", path.display())))?;
    Ok((bpe, file.added_tokens))
}

/// An object, or an empty one where there is no such file.
fn read_object(path: &Path) -> Result<Map<String, Value>> {
    if !path.exists() {
        return Ok(Map::new());
    }
    serde_json::from_str(&read_text(path)?).map_err(|error| damaged("a JSON object", path, error))
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|error| damaged("UTF-8 text", path, error))
}

fn damaged(expected: &str, path: &Path, received: impl std::fmt::Display) -> ModelError {
    ModelError::Weights(format!("Expected {expected} in {} but received {received}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_merges_that_ship_with_the_package_imply_the_published_vocabulary() {
        let bpe = read_merges(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/configs/clip/merges.txt")).unwrap();
        assert_eq!(bpe.len(), 49_408);
        let ids = [
            ("!", 0),
            ("~", 93),
            ("\u{ff}", 187),
            ("\u{100}", 188),
            ("!</w>", 256),
            ("in", 512),
            ("cat</w>", 2368),
            ("<|startoftext|>", 49_406),
            ("<|endoftext|>", 49_407),
        ];
        for (token, id) in ids {
            assert_eq!(bpe.id(token), Some(id), "{token}");
        }
    }
}
