//! candle's operations on a device, at a precision that they have there.

use std::sync::OnceLock;

use candle_core::{DType, Device, DeviceLocation};

use super::{choice::DeviceChoice, error::DeviceError, gpu};
use crate::kernels::MatmulPrecision;

/// Where candle's operations run, and how exact their products are.
#[derive(Clone, Debug)]
pub struct OnCandle {
    device: Device,
    precision: MatmulPrecision,
}

impl OnCandle {
    /// # Errors
    /// The device has no products of this precision, or another was chosen in this process and there can be one.
    pub(super) fn new(device: Device, precision: MatmulPrecision) -> Result<Self, DeviceError> {
        use MatmulPrecision::{High, Highest, Medium};
        let have = match (&device, precision) {
            (_, Highest) | (Device::Cuda(_), _) | (Device::Metal(_), Medium) => None,
            (Device::Cpu, _) => Some("highest alone"),
            (Device::Metal(_), High) => Some("highest and medium"),
        };
        let on = Self { device, precision };
        match have {
            Some(have) => {
                Err(DeviceError::Precision { precision: precision.name(), device: on.choice(), have })
            }
            None if on.device.is_cuda() => on.switched(),
            None => Ok(on),
        }
    }

    /// Sets candle's switch for TF32, which is one for all of a process.
    fn switched(self) -> Result<Self, DeviceError> {
        static IS_TF32: OnceLock<bool> = OnceLock::new();
        let is_tf32 = self.precision == MatmulPrecision::High;
        if *IS_TF32.get_or_init(|| is_tf32) != is_tf32 {
            return Err(DeviceError::OneSwitch { precision: self.precision.name() });
        }
        candle_core::cuda::set_gemm_reduced_precision_f32(is_tf32);
        Ok(self)
    }

    /// candle's name for the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type that the operands of products are rounded to; all else is float32.
    pub fn product_dtype(&self) -> DType {
        match self.precision {
            MatmulPrecision::Medium => DType::BF16,
            MatmulPrecision::Highest | MatmulPrecision::High => DType::F32,
        }
    }

    /// The same device as it is asked for.
    pub(super) fn choice(&self) -> DeviceChoice {
        match self.device.location() {
            DeviceLocation::Cpu => DeviceChoice::Cpu,
            DeviceLocation::Cuda { gpu_id } => DeviceChoice::Cuda(gpu_id),
            DeviceLocation::Metal { .. } => DeviceChoice::Metal,
        }
    }

    /// `candle-cpu-f32`, or `candle-cuda-tf32 (NVIDIA H100 80GB HBM3)`.
    pub(super) fn name(&self) -> String {
        let products = match self.precision {
            MatmulPrecision::Highest => "f32",
            MatmulPrecision::High => "tf32",
            MatmulPrecision::Medium => "bf16",
        };
        let card = gpu::facts(&self.device).map_or_else(String::new, |(card, _)| format!(" ({card})"));
        format!("candle-{}-{products}{card}", self.choice().kind())
    }

    /// The bytes that are free on the device, as far as that can be told.
    pub(super) fn free(&self) -> Option<u64> {
        gpu::facts(&self.device).map(|(_, free)| free)
    }

    /// # Errors
    /// So many bytes are not free on the device, as far as that can be told.
    pub(super) fn check_room(&self, needed: u64) -> Result<(), DeviceError> {
        let in_words = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
        match self.free() {
            Some(free) if free < needed => Err(DeviceError::TooLittle {
                device: self.choice(),
                needed: in_words(needed),
                free: in_words(free),
            }),
            _ => Ok(()),
        }
    }
}
