//! Reading of diffusers and transformers `config.json` files: every key with its Python default, range and a typed error that names it.

use crate::error::{ModelError, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

/// Channel counts and feature widths; the largest published one is 5120, the bound only stops absurd allocations.
pub(crate) const WIDTHS: RangeInclusive<usize> = 1..=65_536;
/// Numbers of layers or blocks.
pub(crate) const DEPTHS: RangeInclusive<usize> = 1..=128;

/// What a model keeps of its `config.json`.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    /// All keys of the file, and the defaults of those that it lacks.
    pub values: Map<String, Value>,
    /// Keys of the file that the model does not know; worth a warning.
    pub unknown: Vec<String>,
}

/// Takes known keys out of a config object one by one.
pub(crate) struct ConfigReader {
    map: Map<String, Value>,
    known: BTreeSet<String>,
    resolved: Map<String, Value>,
}

impl ConfigReader {
    pub fn new(json: &Value) -> Result<Self> {
        let map = json.as_object().ok_or_else(|| ModelError::config("config", "a JSON object", brief(json)))?;
        Ok(Self { map: map.clone(), known: BTreeSet::new(), resolved: map.clone() })
    }

    /// The value of a key; `Null` when the file lacks it and the default is null.
    fn take(&mut self, key: &str, default: Value) -> Value {
        self.known.insert(key.to_string());
        let value = self.map.get(key).cloned().unwrap_or(default);
        self.resolved.insert(key.to_string(), value.clone());
        value
    }

    pub fn int(&mut self, key: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        as_int(key, &self.take(key, default.into()), &range)
    }

    pub fn opt_int(&mut self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>> {
        match self.take(key, Value::Null) {
            Value::Null => Ok(None),
            value => as_int(key, &value, &range).map(Some),
        }
    }

    pub fn ints(&mut self, key: &str, default: &[usize], range: RangeInclusive<usize>) -> Result<Vec<usize>> {
        let value = self.take(key, default.into());
        let items = as_list(key, &value)?;
        items.iter().map(|item| as_int(key, item, &range)).collect()
    }

    /// One number for all of `count` blocks, or a list of exactly `count`.
    pub fn int_per_block(&mut self, key: &str, default: usize, range: RangeInclusive<usize>, count: usize) -> Result<Vec<usize>> {
        match self.take(key, default.into()) {
            Value::Array(items) => {
                let items: Vec<usize> = items.iter().map(|item| as_int(key, item, &range)).collect::<Result<_>>()?;
                expect_count(key, &items, count)?;
                Ok(items)
            }
            value => Ok(vec![as_int(key, &value, &range)?; count]),
        }
    }

    pub fn bool_per_block(&mut self, key: &str, default: bool, count: usize) -> Result<Vec<bool>> {
        match self.take(key, default.into()) {
            Value::Array(items) => {
                let items: Vec<bool> = items.iter().map(|item| as_bool(key, item)).collect::<Result<_>>()?;
                expect_count(key, &items, count)?;
                Ok(items)
            }
            value => Ok(vec![as_bool(key, &value)?; count]),
        }
    }

    pub fn float(&mut self, key: &str, default: f64) -> Result<f64> {
        let value = self.take(key, default.into());
        as_float(key, &value)
    }

    pub fn opt_float(&mut self, key: &str) -> Result<Option<f64>> {
        match self.take(key, Value::Null) {
            Value::Null => Ok(None),
            value => as_float(key, &value).map(Some),
        }
    }

    /// A number above zero.
    pub fn positive(&mut self, key: &str, default: f64) -> Result<f64> {
        let value = self.float(key, default)?;
        if value > 0.0 {
            return Ok(value);
        }
        Err(ModelError::config(key, "a number above 0", value))
    }

    pub fn bool(&mut self, key: &str, default: bool) -> Result<bool> {
        let value = self.take(key, default.into());
        as_bool(key, &value)
    }

    pub fn opt_bool(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key, Value::Null) {
            Value::Null => Ok(None),
            value => as_bool(key, &value).map(Some),
        }
    }

    pub fn string(&mut self, key: &str, default: &str) -> Result<String> {
        let value = self.take(key, default.into());
        value.as_str().map(str::to_string).ok_or_else(|| ModelError::config(key, "a text", brief(&value)))
    }

    pub fn opt_string(&mut self, key: &str, default: Option<&str>) -> Result<Option<String>> {
        match self.take(key, default.map_or(Value::Null, Value::from)) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            value => Err(ModelError::config(key, "a text or null", brief(&value))),
        }
    }

    pub fn strings(&mut self, key: &str, default: &[&str]) -> Result<Vec<String>> {
        let value = self.take(key, default.into());
        let items = as_list(key, &value)?;
        items.iter().map(|item| item.as_str().map(str::to_string).ok_or_else(|| ModelError::config(key, "a list of texts", brief(&value)))).collect()
    }

    /// The raw value, for keys of mixed type.
    pub fn raw(&mut self, key: &str, default: Value) -> Value {
        self.take(key, default)
    }

    /// Refuses every value of a known key but those listed; JSON null is written `null`.
    pub fn only(&mut self, key: &str, default: Value, supported: &[Value]) -> Result<()> {
        let value = self.take(key, default);
        if supported.contains(&value) {
            return Ok(());
        }
        let list: Vec<String> = supported.iter().map(ToString::to_string).collect();
        Err(ModelError::config(key, list.join(" or "), brief(&value)))
    }

    /// Keys that are known and have no effect on inference.
    pub fn ignore(&mut self, keys: &[&str]) {
        self.known.extend(keys.iter().map(ToString::to_string));
    }

    pub fn finish(self) -> ConfigFile {
        let unknown = self.map.keys().filter(|key| !key.starts_with('_') && !self.known.contains(*key)).cloned().collect();
        ConfigFile { values: self.resolved, unknown }
    }
}

/// Reads a JSON file. Errors: `ModelError::Io`, `ModelError::Config` for anything that is not JSON (NaN and Infinity are not).
pub fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text).map_err(|e| ModelError::config(path.display().to_string(), "valid JSON", e))
}

pub(crate) fn as_int(key: &str, value: &Value, range: &RangeInclusive<usize>) -> Result<usize> {
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|v| v.fract() == 0.0 && (0.0..1e15).contains(v)).map(|v| v as u64));
    match whole.map(|v| v as usize) {
        Some(v) if range.contains(&v) => Ok(v),
        _ => Err(ModelError::config(key, format!("a whole number from {} to {}", range.start(), range.end()), brief(value))),
    }
}

fn as_float(key: &str, value: &Value) -> Result<f64> {
    value.as_f64().filter(|v| v.is_finite()).ok_or_else(|| ModelError::config(key, "a finite number", brief(value)))
}

fn as_bool(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| ModelError::config(key, "true or false", brief(value)))
}

fn as_list<'v>(key: &str, value: &'v Value) -> Result<&'v [Value]> {
    match value.as_array() {
        Some(items) if !items.is_empty() && items.len() <= *DEPTHS.end() => Ok(items),
        _ => Err(ModelError::config(key, "a list of 1 to 128 items", brief(value))),
    }
}

fn expect_count<T: std::fmt::Debug>(key: &str, items: &[T], count: usize) -> Result<()> {
    if items.len() == count {
        return Ok(());
    }
    Err(ModelError::config(key, format!("one value or a list of {count}, one for each block"), format!("{items:?}")))
}

/// A value as it can stand in a sentence.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_filled_and_unknown_keys_collected() {
        let mut reader = ConfigReader::new(&json!({"a": 3, "odd": 1, "_class_name": "X"})).unwrap();
        assert_eq!(reader.int("a", 1, WIDTHS).unwrap(), 3);
        assert_eq!(reader.int("b", 7, WIDTHS).unwrap(), 7);
        let file = reader.finish();
        assert_eq!(file.unknown, ["odd"]);
        assert_eq!(file.values["b"], 7);
    }

    #[test]
    fn bad_values_name_the_key_and_the_value() {
        let mut reader = ConfigReader::new(&json!({"a": -3, "b": 1e300, "c": "x", "d": [1, 2]})).unwrap();
        let sentence = reader.int("a", 1, WIDTHS).unwrap_err().to_string();
        assert_eq!(sentence, "Expected a whole number from 1 to 65536 for a but received -3");
        assert!(reader.int("b", 1, WIDTHS).is_err());
        assert!(reader.float("c", 1.0).is_err());
        assert!(reader.int_per_block("d", 1, WIDTHS, 3).is_err());
        assert_eq!(reader.int("c", 1, WIDTHS).unwrap_err().code(), "ERR_CONFIG");
    }
}
