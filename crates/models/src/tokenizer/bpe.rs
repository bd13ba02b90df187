use super::bytes::char_of_byte;
use crate::error::{ModelError, Result};
use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Marks the last symbol of a word in the vocabulary.
pub(super) const END_OF_WORD: &str = "</w>";
/// Longer words are not remembered, so that a text without spaces cannot fill the memory.
const CACHED_WORD_BYTES: usize = 64;
/// The words remembered before the cache starts anew; at about 150 bytes a word this is 10 MB.
const CACHED_WORDS: usize = 65_536;

/// The standard map with a quicker hash: a vocabulary means a quarter of a million look-ups at load.
type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(super) type WordCache = HashMap<Box<str>, Box<[u32]>>;

/// Byte-pair encoding with an end-of-word suffix: the vocabulary, the merges and a cache of encoded words.
#[derive(Debug)]
pub(super) struct Bpe {
    ids: HashMap<Arc<str>, u32>,
    tokens: Vec<Option<Arc<str>>>,
    merges: HashMap<(u32, u32), Merge>,
    inner_symbols: [Option<u32>; 256],
    last_symbols: [Option<u32>; 256],
    cache: Mutex<WordCache>,
}

#[derive(Clone, Copy, Debug)]
struct Merge {
    rank: u32,
    id: u32,
}

/// A symbol of the word being encoded, linked to its neighbours by index; `NONE` ends the list.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
    alive: bool,
}

const NONE: u32 = u32::MAX;

impl Bpe {
    /// Builds the tables; `merges` are pairs of tokens in rank order. Errors: ids out of range or doubled, a merge of unknown tokens.
    pub(super) fn new<'m, T: AsRef<str>>(vocab: &[(T, u32)], merges: impl Iterator<Item = (&'m str, &'m str)>) -> Result<Self> {
        let limit = vocab.len() * 4 + 4096; // a gap this large is damage, and the table below is dense
        let mut tokens: Vec<Option<Arc<str>>> = vec![None; vocab.len()];
        let mut ids = HashMap::with_capacity_and_hasher(vocab.len(), RandomState::default());
        for (token, id) in vocab {
            let (index, token) = (*id as usize, Arc::<str>::from(token.as_ref()));
            if index >= limit {
                return Err(ModelError::Weights(format!("Expected ids below {limit} in the vocabulary but received {id} for {token:?}")));
            }
            if index >= tokens.len() {
                tokens.resize(index + 1, None);
            }
            if let Some(other) = tokens[index].replace(token.clone()) {
                return Err(ModelError::Weights(format!(
                    "Expected one token for each id in the vocabulary but received {token:?} and {other:?} for {id}"
                )));
            }
            ids.insert(token, *id);
        }
        let symbol = |byte: usize, suffix: &str| ids.get(format!("{}{suffix}", char_of_byte(byte as u8)).as_str()).copied();
        let inner_symbols = std::array::from_fn(|byte| symbol(byte, ""));
        let last_symbols = std::array::from_fn(|byte| symbol(byte, END_OF_WORD));
        let merges = merge_table(&ids, merges)?;
        Ok(Self { ids, tokens, merges, inner_symbols, last_symbols, cache: Mutex::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)?.as_deref()
    }

    /// Takes the cache for the time of one text.
    pub(super) fn cache(&self) -> MutexGuard<'_, WordCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the ids of one word; a byte that the vocabulary lacks becomes `unknown`, or nothing where that is `None`.
    pub(super) fn encode_word(&self, word: &str, unknown: Option<u32>, cache: &mut WordCache, out: &mut Vec<u32>) {
        if let Some(ids) = cache.get(word) {
            out.extend_from_slice(ids);
            return;
        }
        let start = out.len();
        self.merge_word(word.as_bytes(), unknown, out);
        if word.len() <= CACHED_WORD_BYTES {
            if cache.len() >= CACHED_WORDS {
                cache.clear();
            }
            cache.insert(word.into(), out[start..].into());
        }
    }

    fn merge_word(&self, word: &[u8], unknown: Option<u32>, out: &mut Vec<u32>) {
        let mut symbols = self.symbols(word, unknown);
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for at in 0..symbols.len() {
            self.enqueue(&symbols, at as u32, &mut queue);
        }
        while let Some(Reverse((_, at, id))) = queue.pop() {
            let left = symbols[at as usize];
            if !left.alive || left.next == NONE {
                continue;
            }
            let right = symbols[left.next as usize];
            let Some(merge) = self.merges.get(&(left.id, right.id)).filter(|merge| merge.id == id) else {
                continue; // the pair that was queued is gone
            };
            symbols[left.next as usize].alive = false;
            symbols[at as usize] = Symbol { id: merge.id, next: right.next, ..left };
            if right.next != NONE {
                symbols[right.next as usize].previous = at;
            }
            if left.previous != NONE {
                self.enqueue(&symbols, left.previous, &mut queue);
            }
            self.enqueue(&symbols, at, &mut queue);
        }
        out.extend(symbols.iter().filter(|symbol| symbol.alive).map(|symbol| symbol.id));
    }

    fn symbols(&self, word: &[u8], unknown: Option<u32>) -> Vec<Symbol> {
        let last = word.len().saturating_sub(1);
        let table = |at: usize| if at == last { &self.last_symbols } else { &self.inner_symbols };
        let ids = word.iter().enumerate().filter_map(|(at, &byte)| table(at)[usize::from(byte)].or(unknown));
        let mut symbols: Vec<Symbol> =
            ids.enumerate().map(|(at, id)| Symbol { id, previous: (at as u32).wrapping_sub(1), next: at as u32 + 1, alive: true }).collect();
        if let Some(symbol) = symbols.last_mut() {
            symbol.next = NONE;
        }
        symbols
    }

    fn enqueue(&self, symbols: &[Symbol], at: u32, queue: &mut BinaryHeap<Reverse<(u32, u32, u32)>>) {
        let left = symbols[at as usize];
        if left.next == NONE {
            return;
        }
        if let Some(merge) = self.merges.get(&(left.id, symbols[left.next as usize].id)) {
            queue.push(Reverse((merge.rank, at, merge.id)));
        }
    }
}

fn merge_table<'m>(ids: &HashMap<Arc<str>, u32>, merges: impl Iterator<Item = (&'m str, &'m str)>) -> Result<HashMap<(u32, u32), Merge>> {
    let mut table = HashMap::with_capacity_and_hasher(merges.size_hint().0, RandomState::default());
    let mut joined = String::new();
    let find = |token: &str, rank: usize| {
        ids.get(token)
            .copied()
            .ok_or_else(|| ModelError::Weights(format!("Expected a token of the vocabulary in merge {rank} but received {token:?}")))
    };
    for (rank, (left, right)) in merges.enumerate() {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let merge = Merge { rank: rank as u32, id: find(&joined, rank)? };
        table.insert((find(left, rank)?, find(right, rank)?), merge);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bpe() -> Bpe {
        let tokens = ["a", "b", "a</w>", "b</w>", "ab", "ab</w>", "abab</w>", "<unk>"];
        let vocab: Vec<_> = tokens.into_iter().zip(0..).collect();
        Bpe::new(&vocab, [("a", "b"), ("a", "b</w>"), ("ab", "ab</w>")].into_iter()).unwrap()
    }

    fn encode(word: &str) -> Vec<u32> {
        let (bpe, mut out) = (bpe(), Vec::new());
        bpe.encode_word(word, Some(7), &mut bpe.cache(), &mut out);
        out
    }

    #[test]
    fn merges_by_rank_and_marks_the_end() {
        assert_eq!(encode("abab"), [6]);
        assert_eq!(encode("ba"), [1, 2]);
        assert_eq!(encode("aab"), [0, 5]);
        assert_eq!(encode("axb"), [0, 7, 3]);
        assert!(encode("").is_empty());
    }

    #[test]
    fn refuses_doubled_and_far_ids() {
        assert!(Bpe::new(&[("a", 1), ("b", 1)], std::iter::empty()).is_err());
        assert!(Bpe::new(&[("a", u32::MAX)], std::iter::empty()).is_err());
        assert!(Bpe::new::<&str>(&[], [("a", "b")].into_iter()).is_err());
    }
}
