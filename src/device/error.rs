//! Why a tower cannot be computed as was asked.

use thiserror::Error;

use super::choice::DeviceChoice;

/// What is not there, or cannot be done there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// A device that needs a feature of the crate that this build was made without.
    #[error("device {device}: this build is without the feature {feature}")]
    NotBuilt {
        /// What was asked for.
        device: DeviceChoice,
        /// The feature, as Cargo names it.
        feature: &'static str,
    },
    /// A device that the system does not give.
    #[error("device {device}: {reason}")]
    NotThere {
        /// What was asked for.
        device: DeviceChoice,
        /// What the driver said.
        reason: String,
    },
    /// An index beyond the last device.
    #[error("device {device}: there are {count}, counted from 0")]
    NoSuchIndex {
        /// What was asked for.
        device: DeviceChoice,
        /// How many there are.
        count: usize,
    },
    /// A model that is larger than what is free on the device.
    #[error("device {device}: the tower's weights take {needed}, and {free} are free")]
    TooLittle {
        /// The device.
        device: DeviceChoice,
        /// The bytes of the weights, in words.
        needed: String,
        /// The bytes that are free, in words.
        free: String,
    },
    /// Our kernels asked for where they do not run.
    #[error("device {device}: our own kernels are of a CPU, and candle's operations are what runs there")]
    OwnKernels {
        /// What was asked for.
        device: DeviceChoice,
    },
    /// A precision that candle does not have on the device.
    #[error("matmul precision {precision}: candle's operations have {have} on device {device}")]
    Precision {
        /// What was asked for.
        precision: &'static str,
        /// The device.
        device: DeviceChoice,
        /// The precisions that it has.
        have: &'static str,
    },
    /// A second precision in a process, of two that are one switch of candle's.
    #[error(
        "matmul precision {precision}: candle has one switch for TF32 in a process, and it was set to other than that"
    )]
    OneSwitch {
        /// What was asked for.
        precision: &'static str,
    },
}
