//! Devices and dtypes by name.

use crate::error::{Failure, Outcome, DEVICE};
use candle_core::{DType, Device, DeviceLocation, Tensor};
use nd_kernels::Storage;

/// The dtype of a name of the SDK.
pub fn dtype(name: &str) -> Outcome<DType> {
    Ok(match name {
        "u8" => DType::U8,
        "u32" => DType::U32,
        "i64" => DType::I64,
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        "f32" => DType::F32,
        "f64" => DType::F64,
        other => return Err(Failure::expected("one of u8, u32, i64, bf16, f16, f32, f64", "dtype", format!("{other:?}"))),
    })
}

/// How weights are kept, by a name of the SDK.
pub fn storage(name: &str) -> Outcome<Storage> {
    match name {
        "int8" => Ok(Storage::Int8),
        "fast" => Ok(Storage::Fast),
        other => Ok(dtype(other)?.into()),
    }
}

/// The device of a name such as `cpu` or `cuda:0`.
pub fn device(name: &str) -> Outcome<Device> {
    let unknown = || Failure::expected("'cpu', 'cuda' or 'cuda:<number>'", "device", format!("{name:?}"));
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => cuda(0),
        other => cuda(other.strip_prefix("cuda:").and_then(|index| index.parse().ok()).ok_or_else(unknown)?),
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Outcome<Device> {
    Device::new_cuda(index).map_err(|error| Failure::new(DEVICE, format!("CUDA device {index} is not usable: {error}")))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Outcome<Device> {
    Err(Failure::new(DEVICE, "Expected a device of this build for device but received 'cuda': node-diffusion was not compiled with CUDA"))
}

/// The name of a tensor's device.
pub fn device_name(tensor: &Tensor) -> String {
    match tensor.device().location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
