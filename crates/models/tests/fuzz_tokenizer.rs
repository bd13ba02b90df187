//! Damaged tokenizer files are an error each, and no text or id makes the tokenizer panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nd_models::tokenizer::{ClipTokenizer, EncodeOptions, SpecialTokens};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const VOCAB: &str = r#"{"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"!":5,"<|startoftext|>":6,"<|endoftext|>":7}"#;
const MERGES: &str = "#version: 0.2\na b</w>\n";
const CONFIG: &str = r#"{"model_max_length":9,"pad_token":"!","added_tokens_decoder":{"8":{"content":"<x>","lstrip":true,"special":false}}}"#;
const SINGLE: &str = r#"{"added_tokens":[{"id":8,"content":"<x>"}],"model":{"end_of_word_suffix":"</w>","vocab":{"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":6,"<|endoftext|>":7},"merges":["a b</w>"]}}"#;

/// A folder that is deleted when dropped.
struct Folder(PathBuf);

impl Folder {
    fn of(files: &[(&str, &[u8])]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("nd-fuzz-tokenizer-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(files: &[(&str, &[u8])]) -> nd_models::Result<ClipTokenizer> {
    ClipTokenizer::from_dir(&Folder::of(files).0)
}

/// A text with some bytes replaced, and cut at a place.
fn damaged(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((0..text.len(), any::<u8>()), 0..4);
    (edits, text.len() / 2..=text.len()).prop_map(move |(edits, length)| {
        let mut bytes = text.as_bytes().to_vec();
        edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(length);
        bytes
    })
}

/// Reading may succeed or fail with a code of the reader; what was read must work.
fn survives(files: &[(&str, &[u8])]) {
    match read(files) {
        Ok(tokenizer) => {
            let ids = tokenizer.encode_batch(&["ab <x> Ab!"], EncodeOptions::for_model()).unwrap().ids;
            tokenizer.decode(&ids[0], SpecialTokens::Skip);
        }
        Err(error) => assert!(["ERR_WEIGHTS", "ERR_CONFIG"].contains(&error.code()), "{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_are_an_error(vocab in damaged(VOCAB), merges in damaged(MERGES), config in damaged(CONFIG)) {
        survives(&[("vocab.json", &vocab), ("merges.txt", MERGES.as_bytes())]);
        survives(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", &merges)]);
        survives(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", MERGES.as_bytes()), ("tokenizer_config.json", &config)]);
    }

    #[test]
    fn a_damaged_single_file_is_an_error(single in damaged(SINGLE)) {
        survives(&[("tokenizer.json", &single)]);
    }

    #[test]
    fn any_text_and_any_ids_work(text in any::<String>(), added in any::<String>(), ids in prop::collection::vec(any::<u32>(), 0..20)) {
        let mut tokenizer = read(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", MERGES.as_bytes())]).unwrap();
        tokenizer.add_tokens(&[&added]).unwrap();
        let text = format!("{text}{added} ab");
        let encoded = tokenizer.encode(&text).unwrap();
        tokenizer.convert_ids_to_tokens(&encoded).unwrap();
        tokenizer.expand_prompt(&text).unwrap();
        tokenizer.decode(&ids, SpecialTokens::Keep);
    }
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    let message = |files: &[(&str, &[u8])]| read(files).unwrap_err().to_string();
    assert!(message(&[("vocab.json", b"[1]"), ("merges.txt", b"")]).contains("vocab.json"));
    assert!(message(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", b"a b c")]).contains("\"a b c\" on line 1"));
    assert!(message(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", b"a z")]).contains("merge 0"));
    assert!(message(&[("vocab.json", br#"{"a":0}"#), ("merges.txt", b"")]).contains("bos_token"));
    assert!(message(&[("vocab.json", VOCAB.as_bytes())]).contains("merges.txt"));
    assert!(ClipTokenizer::from_dir(Path::new("/nonexistent/tokenizer")).is_err());
    let config = br#"{"model_max_length":0}"#;
    let files: [(&str, &[u8]); 3] = [("vocab.json", VOCAB.as_bytes()), ("merges.txt", MERGES.as_bytes()), ("tokenizer_config.json", config)];
    assert_eq!(read(&files).unwrap_err().code(), "ERR_CONFIG");
}

#[test]
fn a_single_file_reads_like_the_pair() {
    let pair = read(&[("vocab.json", VOCAB.as_bytes()), ("merges.txt", MERGES.as_bytes())]).unwrap();
    let single = read(&[("tokenizer.json", SINGLE.as_bytes())]).unwrap();
    assert_eq!(pair.encode("ab BA").unwrap(), single.encode("ab BA").unwrap());
    let tokens = SINGLE.replace(r#"["a b</w>"]"#, r#"[["a","b</w>"]]"#);
    assert_eq!(read(&[("tokenizer.json", tokens.as_bytes())]).unwrap().encode("ab").unwrap(), [6, 4, 7]);
}
