//! A scheduler's configuration: diffusers' `scheduler_config.json` with the Python defaults filled in.
//!
//! Keys keep their snake_case names and their order. `_use_default_values` lists the keys that were not given, so that
//! a swap to another class carries over only what a checkpoint really says (diffusers configuration_utils.py
//! `extract_init_dict`).

use crate::error::{show, Result, SamplerError};
use crate::registry::{self, Entry};
use crate::sigma_schedules;
use serde_json::{Map, Value};

/// Keys that were not given when the config was made.
pub const USE_DEFAULTS: &str = "_use_default_values";

/// The full configuration of one scheduler class.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) entry: &'static Entry,
    values: Map<String, Value>,
}

impl Config {
    /// Reads a config by its `_class_name`, fills in the defaults, keeps unknown keys and checks the values.
    pub fn new(given: &Map<String, Value>) -> Result<Config> {
        let name = match given.get("_class_name") {
            Some(Value::String(name)) => name.as_str(),
            other => return Err(SamplerError::config("_class_name", "a scheduler class name", other.map_or("nothing".into(), show))),
        };
        let entry = registry::find(name)?;
        let mut values = entry.defaults();
        let mut defaulted = Vec::new();
        let listed: Vec<&str> = match given.get(USE_DEFAULTS) {
            Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for (key, slot) in values.iter_mut() {
            match given.get(key) {
                Some(value) => {
                    check_type(key, slot, value)?;
                    if listed.contains(&key.as_str()) && same(value, slot) {
                        defaulted.push(Value::String(key.clone()));
                    }
                    *slot = value.clone();
                }
                None => defaulted.push(Value::String(key.clone())),
            }
        }
        for (key, value) in given {
            if key != USE_DEFAULTS && key != "_class_name" && !values.contains_key(key) {
                values.insert(key.clone(), value.clone());
            }
        }
        values.insert("_class_name".into(), Value::String(entry.class.into()));
        values.insert(USE_DEFAULTS.into(), Value::Array(defaulted));
        let mut config = Config { entry, values };
        (entry.check)(&mut config)?;
        sigma_schedules::check(config.get(sigma_schedules::KEY))?;
        Ok(config)
    }

    /// The config that class `target` gets from `source` (another class's config): only keys that the source really
    /// gives are carried over, unknown ones are kept, `overrides` win.
    pub fn carry(target: &str, source: &Map<String, Value>, overrides: &Map<String, Value>) -> Result<Config> {
        let entry = registry::find(target)?;
        let source_defaults = match source.get("_class_name").and_then(Value::as_str).map(registry::find) {
            Some(Ok(from)) => from.defaults(),
            _ => Map::new(),
        };
        let mut given = Map::new();
        let listed: Vec<&str> = match source.get(USE_DEFAULTS) {
            Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for (key, value) in source {
            let untouched = listed.contains(&key.as_str()) && source_defaults.get(key).is_none_or(|default| same(default, value));
            if key != USE_DEFAULTS && !untouched {
                given.insert(key.clone(), value.clone());
            }
        }
        given.extend(overrides.iter().map(|(k, v)| (k.clone(), v.clone())));
        given.insert("_class_name".into(), Value::String(entry.class.into()));
        Config::new(&given)
    }

    /// Every key with its value, `_class_name` and `_use_default_values` included.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The diffusers class name.
    pub fn class(&self) -> &'static str {
        self.entry.class
    }

    /// This config with named noise levels, where the class has noise levels to name.
    pub(crate) fn with_spacing(&self, name: &str) -> Result<Config> {
        let known = sigma_schedules::SIGMA_SPACINGS;
        if !self.entry.spaced() {
            return Err(SamplerError::argument("sigmaSpacing", "nothing (this scheduler has fixed noise levels)", format!("{name:?}")));
        }
        if !known.contains(&name) {
            return Err(SamplerError::argument("sigmaSpacing", format!("one of {}", known.join(", ")), format!("{name:?}")));
        }
        let mut config = self.clone();
        config.set(sigma_schedules::KEY, Value::from(name));
        Ok(config)
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.values.insert(key.into(), value);
    }

    pub(crate) fn get(&self, key: &str) -> &Value {
        self.values.get(key).unwrap_or(&Value::Null)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Value::Bool(true))
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64> {
        number(self.get(key)).ok_or_else(|| SamplerError::config(key, "a number", show(self.get(key))))
    }

    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            Value::Null => Ok(None),
            _ => self.number(key).map(Some),
        }
    }

    pub(crate) fn count(&self, key: &str, least: usize, most: usize) -> Result<usize> {
        match self.get(key).as_f64() {
            Some(v) if v.fract() == 0.0 && v >= least as f64 && v <= most as f64 => Ok(v as usize),
            _ => Err(SamplerError::config(key, format!("an integer from {least} to {most}"), show(self.get(key)))),
        }
    }

    pub(crate) fn integer(&self, key: &str) -> Result<i64> {
        match self.get(key).as_f64() {
            Some(v) if v.fract() == 0.0 && v.abs() < 1e9 => Ok(v as i64),
            _ => Err(SamplerError::config(key, "an integer", show(self.get(key)))),
        }
    }

    /// The value of `key` where it is one of `options`, else an error that lists them.
    pub(crate) fn choice(&self, key: &str, options: &[&'static str]) -> Result<&'static str> {
        let given = self.get(key).as_str();
        options
            .iter()
            .copied()
            .find(|o| Some(*o) == given)
            .ok_or_else(|| SamplerError::config(key, format!("one of {}", options.join(", ")), show(self.get(key))))
    }

    /// Training steps, at most 100000.
    pub(crate) fn train_steps(&self) -> Result<usize> {
        self.count("num_train_timesteps", 1, 100_000)
    }

    /// At most one of karras, exponential and beta sigmas may be chosen.
    pub(crate) fn check_sigma_flags(&self) -> Result<()> {
        let keys = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"];
        let set: Vec<&str> = keys.iter().copied().filter(|k| self.flag(k)).collect();
        match set.len() {
            0 | 1 => Ok(()),
            _ => Err(SamplerError::config(set[1], format!("false where {} is true", set[0]), "true")),
        }
    }
}

/// A JSON number, or one of the strings that stand for an infinity.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => match s.as_str() {
            "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
            "Infinity" | "inf" => Some(f64::INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x == y,
        _ => a == b,
    }
}

fn check_type(key: &str, default: &Value, value: &Value) -> Result<()> {
    let expected = match default {
        Value::Bool(_) if !value.is_boolean() && !value.is_null() => "a boolean",
        Value::Number(_) if number(value).is_none() => "a number",
        Value::String(s) if s == "-Infinity" && number(value).is_none() => "a number",
        Value::String(s) if s != "-Infinity" && !value.is_string() => "a string",
        Value::Array(_) if !value.is_array() && !value.is_null() => "a list",
        _ => return Ok(()),
    };
    Err(SamplerError::config(key, expected, show(value)))
}
