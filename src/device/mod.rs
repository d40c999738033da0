//! What a tower is computed with: our kernels, or candle's operations, on a CPU or a GPU.
//!
//! The one place that knows what this build and this machine have. A [`Road`] is chosen once, before anything slow; what was asked for
//! and is not there is an error that says why, and nothing else is taken in its place.

mod choice;
mod error;
mod gpu;
#[cfg(all(feature = "cuda", target_os = "linux", target_arch = "x86_64"))]
mod libraries;
mod on_candle;
mod road;

pub use choice::{DeviceChoice, Kernels};
pub use error::DeviceError;
pub use on_candle::OnCandle;
pub use road::{Road, Taken};
