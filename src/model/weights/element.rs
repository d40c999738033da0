//! A weight's elements, in the types that files store.

use candle_core::WithDType;
use half::{bf16, f16};

/// A float of a file.
pub(super) trait Element: WithDType + bytemuck::Pod {
    /// The value whose bytes lie the lowest first.
    fn from_le(value: Self) -> Self;

    /// Whether none of the values is infinite or no number. It has no branch and no early end, so that it is as fast as the values come
    /// from the cache that they were just written to.
    fn all_finite(values: &[Self]) -> bool;
}

/// Only where all bits of the exponent are set does one more of them, `$one`, carry into the sign's.
macro_rules! element {
    ($type:ty, $bits:ty, $one:literal) => {
        impl Element for $type {
            fn from_le(value: Self) -> Self {
                Self::from_bits(<$bits>::from_le(value.to_bits()))
            }

            fn all_finite(values: &[Self]) -> bool {
                let carries = |value: &Self| (value.to_bits() & (<$bits>::MAX >> 1)).wrapping_add($one);
                values.iter().fold(0, |carried, value| carried | carries(value)) >> (<$bits>::BITS - 1) == 0
            }
        }
    };
}

element!(f32, u32, 0x0080_0000);
element!(f16, u16, 0x0400);
element!(bf16, u16, 0x0080);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_found_wherever_it_stands() {
        let finite = [0.0, -0.0, 1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -1e-45, 1e-45];
        assert!(f32::all_finite(&finite) && f32::all_finite(&[]));
        let quiet = f32::from_bits(0xffc0_0001);
        let loud = f32::from_bits(0x7f80_0001);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, quiet, loud] {
            for len in [1, 2, 7, 33, 100] {
                for at in 0..len {
                    let mut values: Vec<f32> = finite.iter().copied().cycle().take(len).collect();
                    values[at] = wrong;
                    assert!(!f32::all_finite(&values), "{wrong} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn each_half_is_told_as_it_is() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert_eq!(f16::all_finite(&[half]), half.is_finite(), "{bits:x}");
            assert_eq!(bf16::all_finite(&[brain]), brain.is_finite(), "{bits:x}");
        }
    }
}
