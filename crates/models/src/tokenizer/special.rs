use super::added::{AddedToken, AddedTokens};
use super::files::TokenizerFiles;
use crate::error::{ModelError, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// The special tokens by role, in the order in which transformers adds them, with CLIP's defaults.
const ROLES: [(&str, Option<&str>); 7] = [
    ("bos_token", Some(START)),
    ("eos_token", Some(END)),
    ("unk_token", Some(END)),
    ("sep_token", None),
    ("pad_token", Some(END)),
    ("cls_token", None),
    ("mask_token", None),
];

/// The ids that encoding needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpecialIds {
    pub bos: u32,
    pub eos: u32,
    pub unk: u32,
    pub pad: u32,
}

/// A special token as the files give it: its text alone, or with the flags of an added token.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Name(String),
    Token(AddedToken),
}

impl Given {
    fn content(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Token(token) => &token.content,
        }
    }
}

type Roles = HashMap<&'static str, Given>;

/// Adds the tokens of a folder as transformers does: those of its files by id, then each role's that differs from all before it;
/// the last of one content decides its flags. Source: transformers tokenization_utils_base.py `_from_pretrained`.
pub(super) fn add_tokens_of(files: &TokenizerFiles) -> Result<(AddedTokens, SpecialIds)> {
    let roles = given_roles(files)?;
    let mut tokens: Vec<AddedToken> = tokens_by_id(files, &roles)?.into_values().collect();
    let from_files: Vec<String> = tokens.iter().map(|token| token.content.clone()).collect();
    let mut later: Vec<Given> = Vec::new();
    for given in ROLES.iter().filter_map(|(role, _)| roles.get(role).cloned()).chain(extra_tokens(files)?) {
        if !from_files.iter().any(|content| content == given.content()) && !later.contains(&given) {
            later.push(given);
        }
    }
    tokens.extend(later.into_iter().map(|given| match given {
        Given::Name(name) => AddedToken::special(&name),
        Given::Token(token) => token,
    }));
    for token in &mut tokens {
        token.special |= roles.values().any(|given| given.content() == token.content);
    }
    let mut added = AddedTokens::default();
    added.add(&tokens, &files.bpe)?;
    let ids = special_ids(&roles, &added, files)?;
    Ok((added, ids))
}

fn special_ids(roles: &Roles, added: &AddedTokens, files: &TokenizerFiles) -> Result<SpecialIds> {
    let id = |role: &str| roles.get(role).and_then(|given| added.id(given.content()));
    let required = |role: &str| {
        let content = roles.get(role).map_or("", Given::content);
        let missing =
            || ModelError::Weights(format!("Expected the {role} {content:?} in the vocabulary but received {} other tokens", files.bpe.len()));
        files.bpe.id(content).ok_or_else(missing)
    };
    let (bos, eos) = (required("bos_token")?, required("eos_token")?);
    Ok(SpecialIds { bos, eos, unk: id("unk_token").unwrap_or(eos), pad: id("pad_token").unwrap_or(eos) })
}

/// Every role's token: the defaults, over them `tokenizer_config.json`, over that `special_tokens_map.json` (which only counts
/// where the config lists no `added_tokens_decoder`). `null` takes a role away.
fn given_roles(files: &TokenizerFiles) -> Result<Roles> {
    let mut roles = Roles::new();
    for (role, default) in ROLES {
        let mut given = default.map(|name| Given::Name(name.to_owned()));
        if let Some(value) = files.config.get(role) {
            given = parse_given(role, value)?;
        }
        let legacy = files.special_tokens_map.get(role).filter(|_| !files.config.contains_key("added_tokens_decoder"));
        if let Some(value) = legacy {
            given = parse_given(role, value)?.map(|given| match given {
                Given::Token(token) => Given::Token(AddedToken { special: true, ..token }),
                name => name,
            });
        }
        if let Some(given) = given {
            roles.insert(role, given);
        }
    }
    Ok(roles)
}

fn parse_given(key: &str, value: &Value) -> Result<Option<Given>> {
    match value {
        Value::Null => Ok(None),
        Value::String(name) => Ok(Some(Given::Name(name.clone()))),
        Value::Object(object) => Ok(Some(Given::Token(AddedToken::from_json(object)?))),
        other => Err(ModelError::config(key, "a token's text or its description", other)),
    }
}

fn extra_tokens(files: &TokenizerFiles) -> Result<Vec<Given>> {
    let key = "additional_special_tokens";
    let value = files.config.get(key).or_else(|| files.special_tokens_map.get(key));
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(ModelError::config(key, "a list of tokens", other)),
    };
    list.iter().filter_map(|value| parse_given(key, value).transpose()).collect()
}

/// The tokens that the files list with their ids; only the order of the ids counts, as in transformers.
fn tokens_by_id(files: &TokenizerFiles, roles: &Roles) -> Result<BTreeMap<u64, AddedToken>> {
    let mut tokens = BTreeMap::new();
    if let Some(value) = files.config.get("added_tokens_decoder") {
        let wrong = || ModelError::config("added_tokens_decoder", "an object from ids to tokens", value);
        for (id, token) in value.as_object().ok_or_else(wrong)? {
            let id = id.parse().map_err(|_| wrong())?;
            tokens.insert(id, AddedToken::from_json(token.as_object().ok_or_else(wrong)?)?);
        }
        return Ok(tokens);
    }
    for (content, id) in &files.added_tokens {
        let id = id.as_u64().ok_or_else(|| ModelError::config(content.as_str(), "a token id in added_tokens.json", id))?;
        let special = roles.values().any(|given| given.content() == content);
        tokens.insert(id, if special { AddedToken::special(content) } else { AddedToken::plain(content) });
    }
    for value in &files.serialized_tokens {
        let wrong = || ModelError::config("added_tokens", "tokens with their ids in tokenizer.json", value);
        let id = value.get("id").and_then(Value::as_u64).ok_or_else(wrong)?;
        tokens.insert(id, AddedToken::from_json(value.as_object().ok_or_else(wrong)?)?);
    }
    Ok(tokens)
}
