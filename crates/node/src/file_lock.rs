//! A lock that processes share through a file.

use crate::error::{Failure, Result, INTERNAL};
use napi_derive::napi;
use std::fs::{File, OpenOptions, TryLockError};

/// An advisory lock on a file (`flock` on Unix, as Python's filelock takes it); freed when released, dropped, or when the process ends.
#[napi]
pub struct NativeFileLock {
    file: Option<File>,
}

#[napi]
impl NativeFileLock {
    /// Opens the file, creating it if it is not there; the lock is not taken yet.
    #[napi(factory, catch_unwind)]
    pub fn open(path: String) -> Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| Failure::new(INTERNAL, format!("Expected a lock file at {path} but received: {error}")))?;
        Ok(Self { file: Some(file) })
    }

    /// True if the lock is ours now, false if another process or another `NativeFileLock` holds it.
    #[napi(catch_unwind)]
    pub fn try_lock(&self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Failure::new(INTERNAL, format!("Expected a lock but received: {error}")).into()),
        }
    }

    /// Frees the lock; safe to call twice.
    #[napi]
    pub fn release(&mut self) {
        self.file = None;
    }
}
