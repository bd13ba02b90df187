use super::bpe::Bpe;
use super::text::normalize;
use crate::error::{ModelError, Result};
use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A token on top of the vocabulary, with the fields of its JSON form. Source: tokenizers added_vocabulary.rs `AddedToken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddedToken {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

impl AddedToken {
    /// A plain token: found in the normalised text, not special.
    pub(super) fn plain(content: &str) -> Self {
        let content = content.to_owned();
        Self { content, single_word: false, lstrip: false, rstrip: false, normalized: true, special: false }
    }

    /// A special token: found in the text as it stands.
    pub(super) fn special(content: &str) -> Self {
        Self { normalized: false, special: true, ..Self::plain(content) }
    }

    /// Reads the JSON form; flags that are missing are false, and `normalized` is the contrary of `special`.
    pub(super) fn from_json(object: &Map<String, Value>) -> Result<Self> {
        let content = object.get("content").and_then(Value::as_str);
        let content = content.ok_or_else(|| ModelError::config("content", "the text of an added token", Value::from(object.clone())))?;
        let flag = |key: &str| object.get(key).and_then(Value::as_bool);
        let special = flag("special").unwrap_or(false);
        Ok(Self {
            content: content.to_owned(),
            single_word: flag("single_word").unwrap_or(false),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            normalized: flag("normalized").unwrap_or(!special),
            special,
        })
    }
}

/// A part of a text: an added token, or text in between that still has to be encoded.
pub(super) enum Part<'t> {
    Token(u32),
    Text(&'t str),
}

/// All added tokens and the two automata that find them: in the raw text and in the normalised one.
#[derive(Clone, Debug, Default)]
pub(super) struct AddedTokens {
    entries: Vec<Entry>,
    by_content: HashMap<String, usize>,
    by_id: HashMap<u32, usize>,
    raw: Option<Finder>,
    normalized: Option<Finder>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: u32,
    token: AddedToken,
    /// The content as it is found and shown: normalised where the token is.
    shown: String,
}

#[derive(Clone, Debug)]
struct Finder {
    automaton: AhoCorasick,
    entries: Vec<usize>,
}

impl AddedTokens {
    /// Adds tokens in order and returns how many; known contents keep their id, empty and doubled ones are ignored.
    pub(super) fn add(&mut self, tokens: &[AddedToken], bpe: &Bpe) -> Result<usize> {
        let mut added = 0;
        for token in tokens {
            let known = self.by_content.get(&token.content).copied();
            if token.content.is_empty() || known.is_some_and(|index| self.entries[index].token == *token) {
                continue;
            }
            added += 1;
            let shown = if token.normalized { normalize(&token.content).into_owned() } else { token.content.clone() };
            match known {
                Some(index) => {
                    let special = token.special || self.entries[index].token.special;
                    self.entries[index].token = AddedToken { special, ..token.clone() };
                    self.entries[index].shown = shown;
                }
                None => {
                    let id = bpe.id(&token.content).unwrap_or_else(|| self.next_id(bpe));
                    self.by_content.insert(token.content.clone(), self.entries.len());
                    self.by_id.insert(id, self.entries.len());
                    self.entries.push(Entry { id, token: token.clone(), shown });
                }
            }
        }
        self.refresh()?;
        Ok(added)
    }

    fn next_id(&self, bpe: &Bpe) -> u32 {
        let after = self.entries.iter().map(|entry| entry.id + 1).max().unwrap_or(0);
        after.max(bpe.len() as u32)
    }

    fn refresh(&mut self) -> Result<()> {
        // Special tokens come first: of two equal patterns the first one is found.
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&index| !self.entries[index].token.special);
        let (normalized, raw) = order.into_iter().partition(|&index| self.entries[index].token.normalized);
        self.raw = self.finder(raw)?;
        self.normalized = self.finder(normalized)?;
        Ok(())
    }

    fn finder(&self, entries: Vec<usize>) -> Result<Option<Finder>> {
        if entries.is_empty() {
            return Ok(None);
        }
        let patterns = entries.iter().map(|&index| self.entries[index].shown.as_bytes());
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .map_err(|error| ModelError::argument("tokens", "fewer or shorter added tokens", error))?;
        Ok(Some(Finder { automaton, entries }))
    }

    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.by_content.get(content).map(|&index| self.entries[index].id)
    }

    /// The content of the token that is shown like this.
    pub(super) fn content(&self, shown: &str) -> Option<&str> {
        let by_content = self.by_content.get(shown).map(|&index| &self.entries[index]);
        let found = by_content.or_else(|| self.entries.iter().find(|entry| entry.shown == shown))?;
        Some(found.token.content.as_str())
    }

    /// How a token is shown: normalised content for tokens that are found in the normalised text.
    pub(super) fn shown(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(|&index| self.entries[index].shown.as_str())
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.by_id.get(&id).is_some_and(|&index| self.entries[index].token.special)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.iter().map(|entry| entry.id)
    }

    /// Cuts a raw text at the tokens that are found before normalisation.
    pub(super) fn split_raw<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        self.split(self.raw.as_ref(), text)
    }

    /// Cuts a normalised text at the tokens that are found after normalisation.
    pub(super) fn split_normalized<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        self.split(self.normalized.as_ref(), text)
    }

    fn split<'t>(&self, finder: Option<&Finder>, text: &'t str) -> Vec<Part<'t>> {
        let Some(finder) = finder else { return vec![Part::Text(text)] };
        let (mut parts, mut done) = (Vec::new(), 0);
        for found in finder.automaton.find_iter(text) {
            let entry = &self.entries[finder.entries[found.pattern().as_usize()]];
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            if entry.token.single_word && (before.ends_with(is_word) || after.starts_with(is_word)) {
                continue;
            }
            let start = if entry.token.lstrip { before.trim_end().len() } else { found.start() }.max(done);
            let end = if entry.token.rstrip { text.len() - after.trim_start().len() } else { found.end() };
            if done < start {
                parts.push(Part::Text(&text[done..start]));
            }
            parts.push(Part::Token(entry.id));
            done = end.max(done);
        }
        if done < text.len() {
            parts.push(Part::Text(&text[done..]));
        }
        parts
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
