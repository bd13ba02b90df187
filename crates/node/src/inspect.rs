//! What a file or folder holds, from headers alone.

use crate::error::Result;
use crate::task::{spawn, NativeCancelToken};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use std::path::Path;

/// Kind, family, dtype, parameters, bytes and components of a model folder or weights file, as JSON.
#[napi(catch_unwind, ts_return_type = "Promise<string>")]
pub fn inspect<'env>(env: &'env Env, path: String, token: &NativeCancelToken) -> Result<Object<'env>> {
    let work = move || Ok(nd_models::inspect(Path::new(&path))?.to_string());
    Ok(spawn(env, &token.token, work, |_, found| Ok(found))?)
}
