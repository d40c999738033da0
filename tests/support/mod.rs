//! What several tests share.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

#[cfg(feature = "cli")]
pub mod run;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clip_features::{
    device::{DeviceChoice, Kernels, Road},
    kernels::MatmulPrecision,
};
use safetensors::{Dtype, SafeTensors};

/// A path below `fixtures/`.
pub fn fixture(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// candle's operations on the CPU.
pub fn candle() -> Road {
    Road::choose(DeviceChoice::Cpu, Some(Kernels::Candle), MatmulPrecision::Highest).unwrap().road
}

/// The ways to compute a tower that every machine has.
pub fn roads() -> [Road; 2] {
    [Road::default(), candle()]
}

/// A tensor of a golden file, widened to float64.
pub struct Golden {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// All tensors of a golden file.
pub fn golden(path: impl AsRef<Path>) -> BTreeMap<String, Golden> {
    let path = fixture("golden").join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F64 => {
                    view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
                }
                Dtype::F32 => {
                    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
                }
                Dtype::I64 => {
                    view.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect()
                }
                other => panic!("{name}: {other}"),
            };
            (name.to_owned(), Golden { shape: view.shape().to_vec(), values })
        })
        .collect()
}

/// How far values are from golden ones.
#[derive(Debug)]
pub struct Difference {
    /// ‖found − expected‖ / ‖expected‖.
    pub relative: f64,
    /// The largest difference of an element.
    pub largest: f64,
}

/// Compares element by element, in float64.
pub fn difference(found: &[f32], expected: &[f64]) -> Difference {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    let pairs =
        || found.iter().zip(expected).map(|(&found, &expected)| (f64::from(found) - expected, expected));
    let sum = |square: fn((f64, f64)) -> f64| pairs().map(square).sum::<f64>().sqrt();
    Difference {
        relative: sum(|(difference, _)| difference * difference) / sum(|(_, expected)| expected * expected),
        largest: pairs().map(|(difference, _)| difference.abs()).fold(0.0, f64::max),
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "relative error {:.1e}, largest difference {:.1e}", self.relative, self.largest)
    }
}
