//! BC6H: half floats, clamped to what 8 bits show, as `BcnDecode.c` has it.

use super::bc6_modes::MODES;
use super::subsets::{Bits, is_anchor, subset, weights};

/// The sixteen pixels of a block.
pub(super) fn pixels(block: &[u8; 16], signed: bool) -> [[u8; 4]; 16] {
    let mut bits = Bits::new(block);
    let number = match bits.take(2) {
        low @ (0 | 1) => low,
        // Three more bits: eight modes of two subsets, four of one, and four that are none.
        2 => 2 + bits.take(3),
        _ => 10 + bits.take(3),
    };
    let Some(mode) = MODES.get(number as usize) else { return [[0; 4]; 16] };

    let mut values = [0u16; 12];
    for &(value, first, last) in mode.layout {
        let span = u32::from(first.abs_diff(last)) + 1;
        let run = bits.take(span) as u16;
        let run = if first > last { run.reverse_bits() >> (16 - span) } else { run };
        values[usize::from(value)] |= run << first.min(last);
    }
    let (partition, index_bits) = if mode.subsets == 2 { (bits.take(5) as usize, 3) } else { (0, 4) };
    let used = mode.subsets * 6;
    if signed {
        values[..3].iter_mut().for_each(|value| *value = extended(*value, mode.bits));
    }
    if signed || mode.has_deltas {
        for (index, value) in values[..used].iter_mut().enumerate().skip(3) {
            *value = extended(*value, mode.delta_bits[index % 3]);
        }
    }
    if mode.has_deltas {
        // The sum is not extended again, as the standard would have it of signed ones.
        let mask = ((1u32 << mode.bits) - 1) as u16;
        for index in 3..used {
            values[index] = values[index].wrapping_add(values[index % 3]) & mask;
        }
    }
    let ends = values.map(|value| unquantized(value, mode.bits, signed));
    let weights = weights(index_bits);
    std::array::from_fn(|pixel| {
        let ends = &ends[subset(mode.subsets, partition, pixel) * 6..][..6];
        let anchored = u32::from(is_anchor(mode.subsets, partition, pixel));
        let weight = i32::from(weights[bits.take(index_bits - anchored) as usize]);
        let channel =
            |index: usize| shown((ends[index] * (64 - weight) + ends[index + 3] * weight) >> 6, signed);
        [channel(0), channel(1), channel(2), 0]
    })
}

/// A number of so many bits with its sign in all of them.
fn extended(value: u16, bits: u32) -> u16 {
    let shift = 16 - bits;
    ((value << shift) as i16 >> shift) as u16
}

/// Spreads a value over 16 bits.
fn unquantized(value: u16, bits: u32, signed: bool) -> i32 {
    let spread = |value: i32| ((value << 15) + 0x4000) >> (bits - 1);
    if !signed {
        let value = i32::from(value);
        return match value {
            _ if bits >= 15 => value,
            0 => 0,
            _ if value == (1 << bits) - 1 => 0xffff,
            _ => spread(value),
        };
    }
    let value = i32::from(value as i16);
    if bits >= 16 {
        return value;
    }
    let size = match value.abs() {
        0 => 0,
        size if size >= (1 << (bits - 1)) - 1 => 0x7fff,
        size => spread(size),
    };
    size * value.signum()
}

/// The half float that a value stands for, from 0 to 1 in 255 steps, rounded down.
fn shown(value: i32, signed: bool) -> u8 {
    let half = if signed { value.abs() * 31 / 32 } else { value * 31 / 64 };
    if value < 0 {
        return 0;
    }
    let (exponent, fraction) = (half >> 10, (half & 0x3ff) as f32);
    let float = match exponent {
        0 => fraction / (1 << 24) as f32,
        _ => (1024.0 + fraction) * ((exponent - 25) as f32).exp2(),
    };
    if float > 1.0 { 255 } else { (float * 255.0) as u8 }
}
