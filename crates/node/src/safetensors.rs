//! Tensors in files, without a model.

use crate::error::{Failure, Outcome, Result, WEIGHTS};
use crate::task::{spawn, NativeCancelToken};
use crate::tensor::NativeTensor;
use candle_core::{DType, Device, Tensor};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use nd_models::weights::{parse_header, Element, TensorInfo, Weights, WeightsOptions};
use nd_models::CancelToken;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Tensors and their names, in the order of the file.
#[napi(object, object_from_js = false)]
pub struct NativeTensorMap {
    pub names: Vec<String>,
    pub tensors: Vec<NativeTensor>,
}

/// Reads every tensor of a safetensors file.
#[napi(catch_unwind, ts_return_type = "Promise<NativeTensorMap>")]
pub fn load_safetensors<'env>(env: &'env Env, path: String, token: &NativeCancelToken) -> Result<Object<'env>> {
    let cancel = token.token.clone();
    let finish = |env: &Env, named: Vec<(String, Tensor)>| {
        let (names, tensors) = named.into_iter().unzip();
        Ok(NativeTensorMap { names, tensors: NativeTensor::wrap_all(env, tensors)? })
    };
    Ok(spawn(env, &token.token, move || read(Path::new(&path), &cancel), finish)?)
}

/// Reads some tensors of a weights file or folder of any format, as f32 floats and i64 integers.
#[napi(catch_unwind, ts_return_type = "Promise<NativeTensorMap>")]
pub fn read_tensors<'env>(
    env: &'env Env,
    path: String,
    variant: Option<String>,
    names: Vec<String>,
    token: &NativeCancelToken,
) -> Result<Object<'env>> {
    let work = move || {
        let weights = Weights::open(Path::new(&path), &WeightsOptions { variant, ..Default::default() })?;
        let read = |name: String| {
            let tensor = weights.read(&name, &Device::Cpu)?;
            let tensor = if tensor.dtype().is_float() { tensor.to_dtype(DType::F32)? } else { tensor };
            Ok((name, tensor))
        };
        names.into_iter().map(read).collect::<Outcome<Vec<_>>>()
    };
    let finish = |env: &Env, named: Vec<(String, Tensor)>| {
        let (names, tensors) = named.into_iter().unzip();
        Ok(NativeTensorMap { names, tensors: NativeTensor::wrap_all(env, tensors)? })
    };
    Ok(spawn(env, &token.token, work, finish)?)
}

/// Writes tensors to a safetensors file, through a temporary name beside it.
#[napi(catch_unwind, ts_return_type = "Promise<void>")]
pub fn save_safetensors<'env>(
    env: &'env Env,
    path: String,
    names: Vec<String>,
    tensors: Vec<ClassInstance<NativeTensor>>,
    token: &NativeCancelToken,
) -> Result<Object<'env>> {
    let tensors = tensors.iter().map(|tensor| tensor.tensor().cloned()).collect::<Outcome<Vec<_>>>()?;
    let named = names.into_iter().zip(tensors).collect();
    Ok(spawn(env, &token.token, move || write(Path::new(&path), &named), |_, ()| Ok(()))?)
}

fn read(path: &Path, cancel: &CancelToken) -> Outcome<Vec<(String, Tensor)>> {
    let origin = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Failure::new(WEIGHTS, format!("Expected a readable file at {origin} but received {error}")))?;
    let mut infos: Vec<(String, TensorInfo)> = parse_header(&bytes, &origin)?.tensors.into_iter().collect();
    infos.sort_by(|a, b| (a.1.start, &a.0).cmp(&(b.1.start, &b.0)));
    let decoded = infos.into_iter().map(|(name, info)| {
        cancel.check()?;
        let tensor = decode(&info, &bytes[info.start..info.end])?;
        Ok((name, tensor))
    });
    decoded.collect()
}

/// Every dtype that a `Tensor` has stays as it is; other integers become i64, fp8 becomes f16.
fn decode(info: &TensorInfo, bytes: &[u8]) -> Outcome<Tensor> {
    let as_is = match info.element {
        Element::F64 => DType::F64,
        Element::U32 => DType::U32,
        Element::U8 | Element::Bool => DType::U8,
        other => return Ok(other.decode(bytes, &info.shape, &Device::Cpu)?),
    };
    Ok(Tensor::from_raw_buffer(bytes, as_is, &info.shape, &Device::Cpu)?)
}

fn write(path: &Path, named: &HashMap<String, Tensor>) -> Outcome<()> {
    let temporary = temporary_name(path);
    let written = write_all(&temporary, named).and_then(|()| Ok(std::fs::rename(&temporary, path)?));
    written.map_err(|error| {
        // The file may not exist; the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        Failure::new(WEIGHTS, format!("Expected a writable file at {} but received {error}", path.display()))
    })
}

fn write_all(path: &Path, named: &HashMap<String, Tensor>) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let plain = named.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(&Device::Cpu)?.contiguous()?)));
    let plain = plain.collect::<candle_core::Result<HashMap<_, _>>>()?;
    Ok(candle_core::safetensors::save(&plain, path)?)
}

fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    name.into()
}
