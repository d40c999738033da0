//! The choice itself.

use candle_core::Device;

use super::{
    choice::{DeviceChoice, Kernels},
    error::DeviceError,
    gpu,
    on_candle::OnCandle,
};
use crate::kernels::{Compute, MatmulPrecision};

/// What a tower is computed with, from its input to its outputs.
#[derive(Clone, Debug)]
pub enum Road {
    /// Our kernels, on the CPU.
    Kernels(Compute),
    /// candle's operations.
    Candle(OnCandle),
}

/// A road, and why it is not another one.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What is taken.
    pub road: Road,
    /// Of `auto`: why a GPU that this build knows is not taken.
    pub passed_over: Option<DeviceError>,
}

impl Road {
    /// Chooses. Without `kernels` they are ours on a CPU, and candle's elsewhere.
    ///
    /// # Errors
    /// What was asked for is not there, or is not to be had together.
    pub fn choose(
        device: DeviceChoice,
        kernels: Option<Kernels>,
        precision: MatmulPrecision,
    ) -> Result<Taken, DeviceError> {
        let on = |gpu: Device| OnCandle::new(gpu, precision).map(Self::Candle);
        let mut passed_over = None;
        let gpu = match device {
            DeviceChoice::Cpu => None,
            DeviceChoice::Cuda(index) => Some(gpu::open_cuda(index)?),
            DeviceChoice::Metal => Some(gpu::open_metal()?),
            // Our kernels are of a CPU.
            DeviceChoice::Auto if kernels == Some(Kernels::Own) => None,
            DeviceChoice::Auto => match gpu::open_cuda(0).or_else(|cuda| {
                // The one that this build has is the one to tell of.
                gpu::open_metal().map_err(|metal| if cfg!(feature = "metal") { metal } else { cuda })
            }) {
                Ok(gpu) => Some(gpu),
                Err(DeviceError::NotBuilt { .. }) => None,
                Err(error) => {
                    passed_over = Some(error);
                    None
                }
            },
        };
        let road = match (gpu, kernels) {
            (Some(_), Some(Kernels::Own)) => return Err(DeviceError::OwnKernels { device }),
            (Some(gpu), _) => on(gpu)?,
            (None, Some(Kernels::Candle)) => on(Device::Cpu)?,
            (None, _) => Self::Kernels(Compute::best(precision)),
        };
        Ok(Taken { road, passed_over })
    }

    /// What it is called in the metadata of outputs: see [`Compute::name`], or `candle-cpu-f32`, or the GPU.
    pub fn name(&self) -> String {
        match self {
            Self::Kernels(compute) => compute.name(),
            Self::Candle(on) => on.name(),
        }
    }

    /// Whose operations it takes.
    pub fn kernels(&self) -> Kernels {
        match self {
            Self::Kernels(_) => Kernels::Own,
            Self::Candle(_) => Kernels::Candle,
        }
    }

    /// `cpu`, `cuda` or `metal`.
    pub fn device_kind(&self) -> &'static str {
        match self {
            Self::Kernels(_) => DeviceChoice::Cpu.kind(),
            Self::Candle(on) => on.choice().kind(),
        }
    }

    /// Whether it is a GPU, which waits for whoever feeds it.
    pub fn is_gpu(&self) -> bool {
        self.device_kind() != DeviceChoice::Cpu.kind()
    }

    /// Whether an image's bytes are the same only in batches of one size: candle's products are other functions for other sizes.
    pub fn takes_whole_batches(&self) -> bool {
        self.kernels() == Kernels::Candle
    }

    /// The bytes that are free on a GPU, as far as that can be told.
    pub fn free(&self) -> Option<u64> {
        match self {
            Self::Kernels(_) => None,
            Self::Candle(on) => on.free(),
        }
    }

    /// The bytes of a product's weight while it is kept for images to come.
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Kernels(_) => size_of::<f32>(),
            Self::Candle(on) => on.product_dtype().size_in_bytes(),
        }
    }

    /// # Errors
    /// Weights of so many bytes are more than is free on a GPU, as far as that can be told.
    pub fn check_room(&self, needed: u64) -> Result<(), DeviceError> {
        match self {
            Self::Kernels(_) => Ok(()),
            Self::Candle(on) => on.check_room(needed),
        }
    }
}

/// Our kernels at their most exact.
impl Default for Road {
    fn default() -> Self {
        Self::Kernels(Compute::default())
    }
}

impl From<Compute> for Road {
    fn from(compute: Compute) -> Self {
        Self::Kernels(compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MatmulPrecision::{High, Highest, Medium};

    fn choose(
        device: &str,
        kernels: Option<Kernels>,
        precision: MatmulPrecision,
    ) -> Result<Road, DeviceError> {
        Road::choose(device.parse().unwrap(), kernels, precision).map(|taken| taken.road)
    }

    #[test]
    fn a_cpu_has_both_roads_and_candles_is_exact_alone() {
        for precision in MatmulPrecision::ALL {
            for kernels in [None, Some(Kernels::Own)] {
                let road = choose("cpu", kernels, precision).unwrap();
                assert_eq!(road.name(), Compute::best(precision).name());
                assert!(!road.is_gpu() && !road.takes_whole_batches());
            }
        }
        let road = choose("cpu", Some(Kernels::Candle), Highest).unwrap();
        assert_eq!((road.name().as_str(), road.device_kind()), ("candle-cpu-f32", "cpu"));
        assert!(road.takes_whole_batches() && road.check_room(u64::MAX).is_ok());
        for precision in [High, Medium] {
            let error = choose("cpu", Some(Kernels::Candle), precision).unwrap_err();
            assert!(matches!(error, DeviceError::Precision { .. }), "{error}");
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_build_without_gpus_takes_none_and_says_what_is_missing() {
        let taken = Road::choose(DeviceChoice::Auto, None, Highest).unwrap();
        assert!(matches!(taken.road, Road::Kernels(_)) && taken.passed_over.is_none());
        for (device, feature) in [("cuda", "cuda"), ("cuda:7", "cuda"), ("metal", "metal")] {
            for kernels in [None, Some(Kernels::Own), Some(Kernels::Candle)] {
                let error = choose(device, kernels, Highest).unwrap_err();
                assert_eq!(error, DeviceError::NotBuilt { device: device.parse().unwrap(), feature });
            }
        }
    }
}
