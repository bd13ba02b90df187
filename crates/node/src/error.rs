//! Errors as JavaScript sees them: a stable `code` and one sentence.

use candle_core::Error as CandleError;
use napi::bindgen_prelude::*;
use nd_models::ModelError;

/// What becomes `error.code` in JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub &'static str);

pub const INVALID_ARGUMENT: Code = Code("ERR_INVALID_ARGUMENT");
pub const DISPOSED: Code = Code("ERR_DISPOSED");
pub const CONFIG: Code = Code("ERR_CONFIG");
pub const WEIGHTS: Code = Code("ERR_WEIGHTS");
pub const DEVICE: Code = Code("ERR_DEVICE");
pub const OUT_OF_MEMORY: Code = Code("ERR_OUT_OF_MEMORY");
pub const ABORTED: Code = Code("ABORT_ERR");
pub const PANIC: Code = Code("ERR_PANIC");
pub const INTERNAL: Code = Code("ERR_INTERNAL");

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl From<Status> for Code {
    fn from(status: Status) -> Self {
        match status {
            Status::GenericFailure | Status::Unknown => INTERNAL,
            _ => INVALID_ARGUMENT,
        }
    }
}

/// Result of every synchronous exported function; the macro wants the name spelled `Result`.
pub type Result<T, E = napi::Error<Code>> = std::result::Result<T, E>;

/// Result of everything below the border.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// An error on its way to JavaScript.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// `Expected <what> for <name> but received <value>`.
    pub fn expected(what: impl std::fmt::Display, name: &str, value: impl std::fmt::Display) -> Self {
        Self::new(INVALID_ARGUMENT, format!("Expected {what} for {name} but received {value}"))
    }

    /// The error as a JavaScript object, for promises, whose own error type has no room for a code.
    pub fn into_js(self, env: &Env) -> napi::Error {
        match self.object(env) {
            Ok(error) | Err(error) => error,
        }
    }

    fn object(self, env: &Env) -> napi::Result<napi::Error> {
        let mut error = env.create_error(napi::Error::from_reason(self.message))?;
        error.set_named_property("code", self.code.0)?;
        Ok(napi::Error::from(error.to_unknown()))
    }
}

impl From<Failure> for napi::Error<Code> {
    fn from(failure: Failure) -> Self {
        napi::Error::new(failure.code, failure.message)
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Candle(inner) => inner.into(),
            other => Self::new(Code(other.code()), other.to_string()),
        }
    }
}

impl From<nd_samplers::SamplerError> for Failure {
    fn from(error: nd_samplers::SamplerError) -> Self {
        Self::new(Code(error.code()), error.to_string())
    }
}

impl From<CandleError> for Failure {
    fn from(error: CandleError) -> Self {
        let error = unwrapped(error);
        let code = match &error {
            CandleError::UnexpectedDType { .. }
            | CandleError::DTypeMismatchBinaryOp { .. }
            | CandleError::UnsupportedDTypeForOp(..)
            | CandleError::DimOutOfRange { .. }
            | CandleError::DuplicateDimIndex { .. }
            | CandleError::UnexpectedNumberOfDims { .. }
            | CandleError::UnexpectedShape { .. }
            | CandleError::ShapeMismatch { .. }
            | CandleError::ShapeMismatchBinaryOp { .. }
            | CandleError::ShapeMismatchCat { .. } => INVALID_ARGUMENT,
            CandleError::NotCompiledWithCudaSupport | CandleError::NotCompiledWithMetalSupport | CandleError::Cuda(_) => DEVICE,
            _ => INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}

impl From<napi::Error> for Failure {
    fn from(error: napi::Error) -> Self {
        Self::new(error.status.into(), error.reason.clone())
    }
}

/// The error without the backtraces and contexts that candle wraps around it.
fn unwrapped(error: CandleError) -> CandleError {
    match error {
        CandleError::WithBacktrace { inner, .. } => unwrapped(*inner),
        CandleError::Context { inner, .. } => unwrapped(*inner),
        other => other,
    }
}
