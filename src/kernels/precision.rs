//! How exact products are asked to be.

use serde::{Deserialize, Serialize};

/// PyTorch's words for the precision of float32 matrix products (`torch.set_float32_matmul_precision`). Errors are those of
/// `last_hidden_state` against float64, relative to its norm.
///
/// ```
/// use clip_features::{MatmulPrecision, ModelSpec, Opened, Options};
///
/// let mut options = Options::default();
/// options.matmul_precision = MatmulPrecision::Medium;
/// let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// assert_eq!(opened.metadata().get("matmul_precision"), Some("medium")); // which each output says
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MatmulPrecision {
    /// Products as exact as float32's: at most 1e-6
    #[default]
    Highest,
    /// Operands as the sum of two bfloat16, where that is faster: at most 2e-5
    High,
    /// Operands rounded to bfloat16, summed in float32, where that is faster: as bfloat16 autocast
    Medium,
}

impl MatmulPrecision {
    /// All of them, the most exact first.
    pub const ALL: [Self; 3] = [Self::Highest, Self::High, Self::Medium];

    /// PyTorch's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }

    /// bfloat16 parts of each operand that hold its digits.
    pub(super) fn parts(self) -> usize {
        match self {
            Self::Highest => 3,
            Self::High => 2,
            Self::Medium => 1,
        }
    }
}
