//! The one error of this crate: a sentence that names the key or argument and what was received.

use serde_json::Value;

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, SamplerError>;

/// Why a scheduler, a schedule or a plan cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// A config key holds a value that the class does not support.
    #[error("Expected {expected} for {key} but received {value}")]
    Config { key: String, expected: String, value: String },
    /// An argument of a call (steps, timesteps, sigmas, ...) is wrong.
    #[error("Expected {expected} for {name} but received {value}")]
    Argument { name: String, expected: String, value: String },
    /// No scheduler has this name.
    #[error("Expected a scheduler class for _class_name but received {name}; nearest: {nearest}")]
    UnknownClass { name: String, nearest: String },
}

impl SamplerError {
    /// The stable code that crosses the boundary: `ERR_CONFIG` or `ERR_INVALID_ARGUMENT`.
    pub fn code(&self) -> &'static str {
        match self {
            SamplerError::Config { .. } | SamplerError::UnknownClass { .. } => "ERR_CONFIG",
            SamplerError::Argument { .. } => "ERR_INVALID_ARGUMENT",
        }
    }

    pub(crate) fn config(key: &str, expected: impl Into<String>, value: impl Into<String>) -> Self {
        SamplerError::Config { key: key.into(), expected: expected.into(), value: value.into() }
    }

    pub(crate) fn argument(name: &str, expected: impl Into<String>, value: impl Into<String>) -> Self {
        SamplerError::Argument { name: name.into(), expected: expected.into(), value: value.into() }
    }
}

/// A JSON value as it appears in an error sentence, cut to 120 characters.
pub(crate) fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
