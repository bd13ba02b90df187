use std::path::PathBuf;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;

/// What can go wrong while a model is configured, loaded or run; `code()` is what the SDK shows as `error.code`.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A known config key holds a value that is not supported or makes no sense.
    #[error("Expected {expected} for {key} but received {value}")]
    Config { key: String, expected: String, value: String },
    /// A weights file is damaged or does not fit the config.
    #[error("{0}")]
    Weights(String),
    /// A tensor argument has the wrong shape or dtype.
    #[error("Expected {expected} for {argument} but received {received}")]
    Shape { argument: String, expected: String, received: String },
    /// Any other argument is wrong.
    #[error("Expected {expected} for {name} but received {received}")]
    Argument { name: String, expected: String, received: String },
    /// The caller's token was cancelled while the work ran.
    #[error("The operation was aborted")]
    Cancelled,
    /// An operation failed inside candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A file could not be read.
    #[error("Expected a readable file at {} but received {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl ModelError {
    /// The stable code of the error: `ERR_CONFIG`, `ERR_WEIGHTS`, `ERR_INVALID_ARGUMENT`, `ABORT_ERR` or `ERR_INTERNAL`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "ERR_CONFIG",
            Self::Weights(_) | Self::Io { .. } => "ERR_WEIGHTS",
            Self::Shape { .. } | Self::Argument { .. } => "ERR_INVALID_ARGUMENT",
            Self::Cancelled => "ABORT_ERR",
            Self::Candle(_) => "ERR_INTERNAL",
        }
    }

    pub(crate) fn config(key: impl Into<String>, expected: impl Into<String>, value: impl std::fmt::Display) -> Self {
        Self::Config { key: key.into(), expected: expected.into(), value: value.to_string() }
    }

    pub(crate) fn argument(name: impl Into<String>, expected: impl Into<String>, received: impl std::fmt::Display) -> Self {
        Self::Argument { name: name.into(), expected: expected.into(), received: received.to_string() }
    }

    pub(crate) fn shape(argument: impl Into<String>, expected: impl Into<String>, received: &candle_core::Tensor) -> Self {
        let received = format!("{:?} of {:?}", received.dims(), received.dtype());
        Self::Shape { argument: argument.into(), expected: expected.into(), received }
    }
}
