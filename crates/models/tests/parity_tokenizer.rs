//! Every string, batch, added token and decoding of the pack's `tokenizer/` against `nd_models::tokenizer`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod parity_report;

use fancy_regex::Regex;
use nd_models::tokenizer::{ClipTokenizer, EncodeOptions, Padding, SpecialTokens};
use parity_report::{pack, repository, Outcome, Report};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

const CONFIGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Compares decoded texts as the pack writes them: its JSON writer puts lists of numbers on one line by taking the spaces
/// inside brackets away, and takes them away in texts like `[ cat ]` too.
fn decoded(what: &str, actual: &str, expected: &Value) -> Outcome {
    let squeezed = Regex::new(r#"\[ +([^\[\]{}"]*?) +\]"#).unwrap().replace_all(actual, "[$1]").into_owned();
    let expected = text(expected);
    Outcome::equal(what, &if actual == expected { actual } else { &squeezed }, &expected.as_str())
}

/// The vocabulary: the pack's own, else the one of the built-in model, which is the same (packs may leave it out).
fn vocabulary(folder: &Path) -> PathBuf {
    let places = [folder.join("clip"), repository().join("models/shapes/tokenizer"), repository().join("../shared/parity/tokenizer/clip")];
    places.into_iter().find(|place| place.join("vocab.json").exists()).expect("a CLIP vocabulary")
}

/// The tokenizer of `clip/`, and one for each pair of configs named `<variant>_tokenizer_config.json`.
fn tokenizers(folder: &Path) -> Vec<(String, ClipTokenizer)> {
    let work = std::env::temp_dir().join(format!("nd-parity-tokenizer-{}", std::process::id()));
    let vocabulary = vocabulary(folder);
    let mut prefixes = vec![("clip".to_owned(), folder.join("clip/"), String::new())];
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(variant) = name.strip_suffix("_tokenizer_config.json") {
            prefixes.push((variant.to_owned(), folder.to_owned(), format!("{variant}_")));
        }
    }
    let read = |(name, from, prefix): (String, PathBuf, String)| {
        let target = work.join(&name);
        std::fs::create_dir_all(&target).unwrap();
        for file in ["vocab.json", "merges.txt"] {
            std::fs::copy(vocabulary.join(file), target.join(file)).unwrap();
        }
        for file in CONFIGS {
            std::fs::copy(from.join(format!("{prefix}{file}")), target.join(file)).unwrap();
        }
        (name, ClipTokenizer::from_dir(&target).unwrap())
    };
    let read = prefixes.into_iter().map(read).collect();
    std::fs::remove_dir_all(&work).unwrap();
    read
}

fn check_string(tokenizer: &ClipTokenizer, row: &Value) -> Outcome {
    let input = text(&row["text"]);
    let own = tokenizer.encode(&input).unwrap();
    let plain = EncodeOptions { add_special: false, ..EncodeOptions::default() };
    let batch = tokenizer.encode_batch(&[&input], EncodeOptions::for_model()).unwrap();
    Outcome::equal("ids", &own, &ids(&row["ids"]))
        .and(|| Outcome::equal("tokens", &tokenizer.convert_ids_to_tokens(&own).unwrap(), &strings(&row["tokens"])))
        .and(|| Outcome::equal("ids_no_special", &tokenizer.encode_batch(&[&input], plain).unwrap().ids[0], &ids(&row["ids_no_special"])))
        .and(|| decoded("decoded", &tokenizer.decode(&own, SpecialTokens::Keep), &row["decoded"]))
        .and(|| decoded("decoded_skip_special", &tokenizer.decode(&own, SpecialTokens::Skip), &row["decoded_skip_special"]))
        .and(|| {
            Outcome::equal("attention_mask", &u64::from(batch.attention_mask[0].iter().sum::<u32>()), &row["attention_mask_sum_77"].as_u64().unwrap())
        })
        .and(|| Outcome::equal("truncated", &batch.truncated[0].is_some(), &row["truncated"].as_bool().unwrap()))
}

fn check_padded(report: &mut Report, folder: &Path, tokenizers: &[(String, ClipTokenizer)], rows: &[Value]) {
    let data = std::fs::read(folder.join("padded.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&data).unwrap();
    for (name, tensor) in tensors.tensors() {
        let pad = name.strip_prefix("pad_").and_then(|id| id.parse::<u32>().ok());
        let Some((_, tokenizer)) = pad.and_then(|pad| tokenizers.iter().find(|(_, tokenizer)| tokenizer.pad_token_id() == pad)) else {
            report.add(name, Outcome::NotCovered("no config has this pad token".into()));
            continue;
        };
        let width = tensor.shape()[1];
        let options = EncodeOptions { max_length: Some(width), ..EncodeOptions::for_model() };
        for (index, (row, expected)) in rows.iter().zip(tensor.data().chunks_exact(width * 8)).enumerate() {
            let expected: Vec<u32> = expected.chunks_exact(8).map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect();
            let own = tokenizer.encode_batch(&[text(&row["text"])], options).unwrap().ids.remove(0);
            report.add(format!("{name}[{index}]"), Outcome::equal("ids", &own, &expected));
        }
    }
}

fn check_added(tokenizer: &ClipTokenizer, prompt: &Value) -> Outcome {
    let input = text(&prompt["text"]);
    let own = tokenizer.encode(&input).unwrap();
    let expanded = tokenizer.expand_prompt(&input).unwrap();
    Outcome::equal("ids", &own, &ids(&prompt["ids"]))
        .and(|| Outcome::equal("tokens", &tokenizer.convert_ids_to_tokens(&own).unwrap(), &strings(&prompt["tokens"])))
        .and(|| Outcome::equal("tokenize", &tokenizer.tokenize(&input).unwrap(), &strings(&prompt["tokenize"])))
        .and(|| decoded("decoded", &tokenizer.decode(&own, SpecialTokens::Keep), &prompt["decoded"]))
        .and(|| Outcome::equal("maybe_convert_prompt", &expanded, &text(&prompt["maybe_convert_prompt"])))
        .and(|| Outcome::equal("ids_after_convert", &tokenizer.encode(&expanded).unwrap(), &ids(&prompt["ids_after_convert"])))
}

fn check_batch(tokenizer: &ClipTokenizer, row: &Value) -> Outcome {
    let kwargs = row["kwargs"].as_object().unwrap();
    let mut options = EncodeOptions::default();
    for (key, value) in kwargs {
        match (key.as_str(), value) {
            ("padding", Value::Bool(true)) => options.padding = Padding::Longest,
            ("padding", Value::Bool(false)) => options.padding = Padding::None,
            ("padding", Value::String(name)) if name == "longest" => options.padding = Padding::Longest,
            ("padding", Value::String(name)) if name == "max_length" => options.padding = Padding::MaxLength,
            ("truncation", Value::Bool(on)) => options.truncation = *on,
            ("max_length", Value::Number(length)) => options.max_length = length.as_u64().map(|length| length as usize),
            ("add_special_tokens", Value::Bool(on)) => options.add_special = *on,
            _ => return Outcome::NotCovered(format!("option {key} = {value}")),
        }
    }
    let own = tokenizer.encode_batch(&strings(&row["texts"]), options).unwrap();
    let rows = |key: &str| row[key].as_array().unwrap().iter().map(ids).collect::<Vec<_>>();
    Outcome::equal("input_ids", &own.ids, &rows("input_ids")).and(|| Outcome::equal("attention_mask", &own.attention_mask, &rows("attention_mask")))
}

fn check_decode(tokenizer: &ClipTokenizer, row: &Value) -> Outcome {
    let input = ids(&row["ids"]);
    Outcome::equal("tokens", &tokenizer.convert_ids_to_tokens(&input).unwrap(), &strings(&row["tokens"]))
        .and(|| decoded("decoded", &tokenizer.decode(&input, SpecialTokens::Keep), &row["decoded"]))
        .and(|| decoded("decoded_skip_special", &tokenizer.decode(&input, SpecialTokens::Skip), &row["decoded_skip_special"]))
}

fn check_added_tokens(report: &mut Report, plain: &ClipTokenizer, cases: &[Value]) {
    for (index, case) in cases.iter().enumerate() {
        let mut tokenizer = plain.clone();
        let tokens = strings(&case["tokens"]);
        let added = tokenizer.add_tokens(&tokens).unwrap();
        let outcome = Outcome::equal("n_added", &(added as u64), &case["n_added"].as_u64().unwrap())
            .and(|| Outcome::equal("added_ids", &tokenizer.convert_tokens_to_ids(&tokens), &ids(&case["added_ids"])))
            .and(|| Outcome::equal("len", &(tokenizer.len() as u64), &case["len"].as_u64().unwrap()));
        report.add(format!("added_tokens[{index}]"), outcome);
        for (number, prompt) in case["prompts"].as_array().unwrap().iter().enumerate() {
            report.add(format!("added_tokens[{index}].prompts[{number}]"), check_added(&tokenizer, prompt));
        }
    }
}

#[test]
fn every_case_of_the_pack() {
    let folder = pack().join("tokenizer");
    let tokenizers = tokenizers(&folder);
    let clip = &tokenizers[0].1;
    let mut report = Report::new("tokenizer");
    let mut names: Vec<String> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let rows = if name.ends_with(".json") { json(&folder.join(&name)) } else { Value::Null };
        let mut each = |check: fn(&ClipTokenizer, &Value) -> Outcome| {
            for (index, row) in rows.as_array().unwrap().iter().enumerate() {
                report.add(format!("{name}[{index}]"), check(clip, row));
            }
        };
        match name.as_str() {
            "strings.json" => {
                each(check_string);
                check_padded(&mut report, &folder, &tokenizers, rows.as_array().unwrap());
            }
            "batches.json" => each(check_batch),
            "decode.json" => each(check_decode),
            "added_tokens.json" => check_added_tokens(&mut report, clip, rows.as_array().unwrap()),
            "padded.safetensors" | "README.md" | "clip" => {}
            config if CONFIGS.iter().any(|known| config.ends_with(known)) => {}
            _ => report.add(name, Outcome::NotCovered("unknown file".into())),
        }
    }
    report.finish();
}
