//! The types that a tensor can be stored in.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use half::{bf16, f16};

/// A stored element type. All are computed in float32 and rounded to nearest, ties to even.
///
/// ```
/// use clip_features::Dtype;
///
/// let values = [0.5, 70_000.0];
/// assert_eq!(Dtype::F16.count_not_finite(&values), 1); // beyond 65504
/// assert_eq!(Dtype::Bf16.count_not_finite(&values), 0);
/// assert_eq!((Dtype::Bf16.name(), Dtype::Bf16.size()), ("bf16", 2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// IEEE binary32.
    #[default]
    F32,
    /// IEEE binary16; values beyond ±65504 become infinite.
    F16,
    /// bfloat16, which only safetensors can name.
    Bf16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The name in metadata and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Bytes of a tensor of this shape.
    pub(crate) fn bytes(self, shape: &[usize]) -> u64 {
        // What is read of a shape may be any numbers; no file is as long as this.
        shape.iter().fold(self.size() as u64, |bytes, &size| bytes.saturating_mul(size as u64))
    }

    /// How many of these values are no finite numbers in this type: they are none, or beyond its largest.
    pub fn count_not_finite(self, values: &[f32]) -> usize {
        // From there on what is rounded to nearest becomes infinite: half a step beyond the largest number.
        let limit = match self {
            Self::F32 => f32::INFINITY,
            Self::F16 => 65_520.0,
            Self::Bf16 => f32::from_bits(0x7f7f_8000),
        };
        values.iter().filter(|value| value.is_nan() || value.abs() >= limit).count()
    }

    /// Writes values in this type, little-endian.
    pub(in crate::output) fn write(self, writer: &mut dyn Write, values: &[f32]) -> io::Result<()> {
        // Through a buffer of bounded size, so that a large tensor is not held twice.
        const CHUNK: usize = 1 << 16;
        let mut bytes = Vec::with_capacity(CHUNK.min(values.len()) * self.size());
        for chunk in values.chunks(CHUNK) {
            bytes.clear();
            match self {
                Self::F32 => bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes())),
                Self::F16 => bytes.extend(chunk.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
                Self::Bf16 => {
                    bytes.extend(chunk.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()));
                }
            }
            writer.write_all(&bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_becomes_infinite_or_no_number() {
        let near = |limit: f32| [limit.next_down(), limit, limit.next_up()].map(|value| [value, -value]);
        let values: Vec<f32> = [65_504.0, 65_520.0, 3.389_531_4e38, f32::from_bits(0x7f7f_8000), f32::MAX]
            .into_iter()
            .flat_map(near)
            .flatten()
            .chain([0.0, 1e-45, f32::NAN, f32::INFINITY])
            .collect();
        for dtype in Dtype::ALL {
            let stored = |value: &&f32| match dtype {
                Dtype::F32 => value.is_finite(),
                Dtype::F16 => f16::from_f32(**value).is_finite(),
                Dtype::Bf16 => bf16::from_f32(**value).is_finite(),
            };
            let expected = values.iter().filter(|value| !stored(value)).count();
            assert_eq!(dtype.count_not_finite(&values), expected, "{dtype:?}");
        }
    }

    #[test]
    fn halves_are_rounded_to_nearest_even() {
        let write = |dtype: Dtype, value: f32| {
            let mut bytes = Vec::new();
            dtype.write(&mut bytes, &[value]).unwrap();
            bytes
        };
        assert_eq!(write(Dtype::F32, 1.0), [0, 0, 0x80, 0x3f]);
        // Halfway between 1 and the next value of each type, and between that and the one after it.
        assert_eq!(write(Dtype::F16, 1.0 + 0.5 / 1024.0), [0, 0x3c]);
        assert_eq!(write(Dtype::F16, 1.0 + 1.5 / 1024.0), [2, 0x3c]);
        assert_eq!(write(Dtype::Bf16, 1.0 + 0.5 / 128.0), [0x80, 0x3f]);
        assert_eq!(write(Dtype::Bf16, 1.0 + 1.5 / 128.0), [0x82, 0x3f]);
    }
}
