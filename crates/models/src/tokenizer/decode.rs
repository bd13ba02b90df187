use super::bpe::END_OF_WORD;
use super::bytes::push_token_bytes;
use super::ClipTokenizer;
use crate::error::{ModelError, Result};

/// Whether decoding shows special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialTokens {
    /// Written out, as in `<|startoftext|>`.
    Keep,
    /// Left out.
    Skip,
}

impl ClipTokenizer {
    /// The text of ids: bytes that are no UTF-8 become U+FFFD, ids that are not known are left out.
    pub fn decode(&self, ids: &[u32], special: SpecialTokens) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            if special == SpecialTokens::Skip && self.added.is_special(id) {
                continue;
            }
            if let Some(token) = self.token(id) {
                push_token_bytes(token, &mut bytes);
            }
        }
        let text = String::from_utf8_lossy(&bytes).replace(END_OF_WORD, " ");
        text.trim_matches(is_python_space).to_owned()
    }

    /// The tokens of ids. Errors: an id that is not known.
    pub fn convert_ids_to_tokens(&self, ids: &[u32]) -> Result<Vec<String>> {
        let token = |&id: &u32| {
            let unknown = || ModelError::argument("ids", format!("token ids below {}", self.len()), id);
            self.token(id).map(str::to_owned).ok_or_else(unknown)
        };
        ids.iter().map(token).collect()
    }

    /// The ids of tokens; the unknown token's id for those that are not known.
    pub fn convert_tokens_to_ids<S: AsRef<str>>(&self, tokens: &[S]) -> Vec<u32> {
        tokens.iter().map(|token| self.token_id(token.as_ref()).unwrap_or(self.special.unk)).collect()
    }

    /// The id of one token, `None` where it is not known.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.added.id(token).or_else(|| self.bpe.id(token))
    }

    fn token(&self, id: u32) -> Option<&str> {
        self.added.shown(id).or_else(|| self.bpe.token(id))
    }
}

/// What Python's `str.strip` takes away: Unicode's white space and four separators.
fn is_python_space(char: char) -> bool {
    char.is_whitespace() || ('\x1c'..='\x1f').contains(&char)
}
