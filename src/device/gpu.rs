//! GPUs, as far as this build knows them. Written against the interfaces of candle and CUDA's driver, and not run yet.

use candle_core::Device;

use super::{choice::DeviceChoice, error::DeviceError};

/// Opens a CUDA device.
#[cfg(feature = "cuda")]
pub(super) fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    let device = DeviceChoice::Cuda(index);
    let not_there = |reason: String| DeviceError::NotThere { device, reason };
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    super::libraries::load().map_err(not_there)?;
    // Asked first, because candle says of a missing driver and of a missing card the same.
    let count =
        CudaContext::device_count().map_err(|error| not_there(format!("CUDA's driver says: {error}")))?;
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return Err(not_there("CUDA's driver knows no card".into()));
    }
    if index >= count {
        return Err(DeviceError::NoSuchIndex { device, count });
    }
    Device::new_cuda(index).map_err(|error| not_there(error.to_string()))
}

#[cfg(not(feature = "cuda"))]
pub(super) fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device: DeviceChoice::Cuda(index), feature: "cuda" })
}

/// Opens Apple's GPU.
#[cfg(feature = "metal")]
pub(super) fn open_metal() -> Result<Device, DeviceError> {
    let not_there = |reason: String| DeviceError::NotThere { device: DeviceChoice::Metal, reason };
    Device::new_metal(0).map_err(|error| not_there(error.to_string()))
}

#[cfg(not(feature = "metal"))]
pub(super) fn open_metal() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device: DeviceChoice::Metal, feature: "metal" })
}

/// What a CUDA device calls itself, and the bytes that are free on it; nothing of others.
#[cfg(feature = "cuda")]
pub(super) fn facts(device: &Device) -> Option<(String, u64)> {
    let stream = device.as_cuda_device().ok()?.cuda_stream();
    let context = stream.context();
    let (free, _) = context.mem_get_info().ok()?;
    Some((context.name().ok()?, free as u64))
}

#[cfg(not(feature = "cuda"))]
pub(super) fn facts(_: &Device) -> Option<(String, u64)> {
    None
}
