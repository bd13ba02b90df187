use crate::error::{ModelError, Result};
use fancy_regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;
use unicode_normalization::{is_nfc_quick, IsNormalized, UnicodeNormalization};

/// CLIP's words: a marker, a contraction, a run of letters, one digit, or a run of anything else that is not space.
static WORDS: LazyLock<std::result::Result<Regex, fancy_regex::Error>> =
    LazyLock::new(|| Regex::new(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"));

/// NFC, every run of white space as one space, then lower case of each character alone (no final-sigma rule).
pub(super) fn normalize(text: &str) -> Cow<'_, str> {
    let composed = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().collect::<String>()),
    };
    let plain = |b: u8| b.is_ascii() && !b.is_ascii_uppercase() && !(b as char).is_whitespace();
    if composed.bytes().all(plain) {
        return composed;
    }
    let mut out = String::with_capacity(composed.len());
    let mut in_space = false;
    for char in composed.chars() {
        let space = char.is_whitespace();
        match (space, in_space) {
            (true, false) => out.push(' '),
            (true, true) => {}
            (false, _) => out.extend(char.to_lowercase()),
        }
        in_space = space;
    }
    Cow::Owned(out)
}

/// Calls `each` with every word of a normalised text, in order.
pub(super) fn for_each_word<'t>(text: &'t str, mut each: impl FnMut(&'t str)) -> Result<()> {
    let words = WORDS.as_ref().map_err(internal)?;
    for found in words.find_iter(text) {
        let word = found.map_err(internal)?.as_str();
        match word.strip_prefix("<|").and_then(|rest| rest.strip_suffix("|>")) {
            // A marker is one word for the splitter, so that what follows starts anew, and three for the byte level behind it.
            Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()) => {
                each(&word[..2]);
                each(name);
                each(&word[word.len() - 2..]);
            }
            _ => each(word),
        }
    }
    Ok(())
}

fn internal(error: impl std::fmt::Display) -> ModelError {
    ModelError::Weights(format!("Expected the word pattern to match but received {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        for_each_word(text, |word| out.push(word)).unwrap();
        out
    }

    #[test]
    fn normalizes_spaces_case_and_composition() {
        assert_eq!(normalize("A\u{30a}  b\t\u{85}C"), "\u{e5} b c");
        assert_eq!(normalize("\u{3a3}\u{3a3} \u{130}"), "\u{3c3}\u{3c3} i\u{307}");
        assert!(matches!(normalize("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn splits_contractions_digits_and_marks() {
        assert_eq!(words("it's 12!? y'all'd"), ["it", "'s", "1", "2", "!?", "y", "'", "all", "'d"]);
    }

    #[test]
    fn a_marker_is_cut_from_what_follows() {
        assert_eq!(words("<|endoftext|>!!"), ["<|", "endoftext", "|>", "!!"]);
        assert_eq!(words("a<|endoftext |>!!"), ["a", "<|", "endoftext", "|>!!"]);
    }
}
