//! The inverse DCT of [`super::idct`] with NEON: the eight columns of a pass side by side, sums in 32 bits.

use std::arch::aarch64::*;

use super::idct::{
    Block, CONST_BITS, F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175, F_1_501, F_1_847, F_1_961,
    F_2_053, F_2_562, F_3_072, PASS1_BITS, flat,
};

/// Rows, or columns, of a block of 16-bit numbers.
type Lines = [int16x8_t; 8];
/// A line in 32 bits.
type Sums = [int32x4_t; 2];

/// Bits that sums lose at the end of each pass.
const FIRST_SHIFT: i32 = (CONST_BITS - PASS1_BITS) as i32;
const SECOND_SHIFT: i32 = (CONST_BITS + PASS1_BITS + 3) as i32;

/// The samples of a block of quantized coefficients.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
    // SAFETY: a row is as large as a register.
    let row = |row: usize| unsafe { vld1q_s16(coefficients[row].as_ptr()) };
    let dequantized = |at: usize| {
        // SAFETY: as above.
        let factors = unsafe { vld1q_u16(table[at].as_ptr()) };
        vmulq_s16(row(at), vreinterpretq_s16_u16(factors))
    };
    let mut vertical = row(1);
    for at in 2..8 {
        vertical = vorrq_s16(vertical, row(at));
    }
    let first = dequantized(0);
    let rows = if is_zero(vertical) {
        if is_zero(vextq_s16::<1>(row(0), vdupq_n_s16(0))) {
            return [[flat(vgetq_lane_s16::<0>(first)); 8]; 8];
        }
        [vshlq_n_s16::<{ PASS1_BITS as i32 }>(first); 8]
    } else {
        let mut rows = [first; 8];
        for (at, row) in rows.iter_mut().enumerate().skip(1) {
            *row = dequantized(at);
        }
        transform(rows)
            .map(|[left, right]| vqrshrn_high_n_s32::<FIRST_SHIFT>(vqrshrn_n_s32::<FIRST_SHIFT>(left), right))
    };
    samples(transform(transpose(rows)))
}

#[inline]
#[target_feature(enable = "neon")]
fn is_zero(line: int16x8_t) -> bool {
    vmaxvq_u16(vreinterpretq_u16_s16(line)) == 0
}

/// Sums before they are shifted. None wraps, whatever the lines have: its factors come to 64,570 at the most, times 2^15. So the shifts
/// may round by themselves.
#[inline]
#[target_feature(enable = "neon")]
fn transform(x: Lines) -> [Sums; 8] {
    let (low, high) = (scaled(vaddq_s16(x[0], x[4])), scaled(vsubq_s16(x[0], x[4])));
    let outer = dot([x[2], x[6]], [F_0_541 + F_0_765, F_0_541]);
    let inner = dot([x[2], x[6]], [F_0_541, F_0_541 - F_1_847]);
    let even = [add(low, outer), add(high, inner), sub(high, inner), sub(low, outer)];
    let sums = [vaddq_s16(x[7], x[3]), vaddq_s16(x[5], x[1])];
    let z3 = dot(sums, [F_1_175 - F_1_961, F_1_175]);
    let z4 = dot(sums, [F_1_175, F_1_175 - F_0_390]);
    let dot_with = |sums, a, b, [first, second]: [i16; 2]| with(with(sums, a, first), b, second);
    let odd = [
        dot_with(z4, x[7], x[1], [-F_0_899, F_1_501 - F_0_899]),
        dot_with(z3, x[5], x[3], [-F_2_562, F_3_072 - F_2_562]),
        dot_with(z4, x[5], x[3], [F_2_053 - F_2_562, -F_2_562]),
        dot_with(z3, x[7], x[1], [F_0_298 - F_0_899, -F_0_899]),
    ];
    let mut out = [low; 8];
    for row in 0..4 {
        out[row] = add(even[row], odd[row]);
        out[7 - row] = sub(even[row], odd[row]);
    }
    out
}

#[inline]
#[target_feature(enable = "neon")]
fn scaled(line: int16x8_t) -> Sums {
    const BITS: i32 = CONST_BITS as i32;
    [vshll_n_s16::<BITS>(vget_low_s16(line)), vshll_high_n_s16::<BITS>(line)]
}

/// A line times a factor, added to `sums`.
#[inline]
#[target_feature(enable = "neon")]
fn with([left, right]: Sums, line: int16x8_t, factor: i16) -> Sums {
    [vmlal_n_s16(left, vget_low_s16(line), factor), vmlal_high_n_s16(right, line, factor)]
}

#[inline]
#[target_feature(enable = "neon")]
fn dot([a, b]: [int16x8_t; 2], [first, second]: [i16; 2]) -> Sums {
    with([vmull_n_s16(vget_low_s16(a), first), vmull_high_n_s16(a, first)], b, second)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(a: Sums, b: Sums) -> Sums {
    [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])]
}

#[inline]
#[target_feature(enable = "neon")]
fn sub(a: Sums, b: Sums) -> Sums {
    [vsubq_s32(a[0], b[0]), vsubq_s32(a[1], b[1])]
}

/// Three steps, each of which turns the six bits of a number's place (its line, then where in it) by one.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(mut x: Lines) -> Lines {
    for _ in 0..3 {
        let zip = |at: usize| [vzip1q_s16(x[at], x[at + 4]), vzip2q_s16(x[at], x[at + 4])];
        let [[a, b], [c, d], [e, f], [g, h]] = [zip(0), zip(1), zip(2), zip(3)];
        x = [a, b, c, d, e, f, g, h];
    }
    x
}

/// Columns around 0, not yet shifted, become rows of bytes.
#[inline]
#[target_feature(enable = "neon")]
fn samples(columns: [Sums; 8]) -> Block<u8> {
    // Of a shift by more than 16 bits the upper halves are the first part.
    let columns = columns.map(|[left, right]| {
        let upper = vuzp2q_s16(vreinterpretq_s16_s32(left), vreinterpretq_s16_s32(right));
        vqrshrn_n_s16::<{ SECOND_SHIFT - 16 }>(upper)
    });
    let pair = |at: usize| vcombine_s8(columns[at], columns[at + 1]);
    let mut x = [pair(0), pair(2), pair(4), pair(6)];
    // As in `transpose`.
    for _ in 0..3 {
        let zip = |at: usize| [vzip1q_s8(x[at], x[at + 2]), vzip2q_s8(x[at], x[at + 2])];
        let [[a, b], [c, d]] = [zip(0), zip(1)];
        x = [a, b, c, d];
    }
    let mut block = [[0; 8]; 8];
    for (rows, pair) in block.as_flattened_mut().chunks_exact_mut(16).zip(x) {
        let bytes = veorq_u8(vreinterpretq_u8_s8(pair), vdupq_n_u8(0x80));
        // SAFETY: two rows are as large as a register.
        unsafe { vst1q_u8(rows.as_mut_ptr(), bytes) };
    }
    block
}
