//! YCbCr to RGB with NEON, 16 pixels at a time, in 16 bits. Even and odd pixels go apart, as in [`super::colour_avx2`], and meet again as
//! bytes.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use super::colour::{BITS, Fresh};
use super::colour_steps::{BLUE_REST, GREEN_BLUE_REST, GREEN_RED_REST, RED_REST, padded, rows_in_steps};

/// Pixels at a time.
const STEP: usize = 16;
/// Sums of chroma for them, with a neighbour on both sides.
const SUMS: usize = STEP / 2 + 2;

/// Words of even and of odd pixels.
type Halves = [int16x8_t; 2];

rows_in_steps!("neon");

/// The first 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
fn bytes(samples: &[u8]) -> uint8x16_t {
    let samples: &[u8; STEP] = samples[..STEP].try_into().expect("16 samples");
    // SAFETY: 16 bytes are read, as many as there are.
    unsafe { vld1q_u8(samples.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn halves(bytes: uint8x16_t) -> Halves {
    let pairs = vreinterpretq_u16_u8(bytes);
    [vandq_u16(pairs, vdupq_n_u16(0xff)), vshrq_n_u16::<8>(pairs)].map(|half| vreinterpretq_s16_u16(half))
}

/// Chroma of each pixel, around 0.
#[inline]
#[target_feature(enable = "neon")]
fn centred(chroma: uint8x16_t) -> Halves {
    halves(chroma).map(|half| vsubq_s16(half, vdupq_n_s16(128)))
}

/// Chroma of two columns each, around 0.
#[inline]
#[target_feature(enable = "neon")]
fn stretched<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(sums: &[u16]) -> Halves {
    let sums: &[u16; SUMS] = sums[..SUMS].try_into().expect("sums of a step");
    // SAFETY: 8 numbers are read at 0, 1 and 2, of 10.
    let at = |at: usize| unsafe { vreinterpretq_s16_u16(vld1q_u16(sums.as_ptr().add(at))) };
    let (before, here, after) = (at(0), at(1), at(2));
    let divided = |neighbour, rounding: u16| {
        let rounding = vdupq_n_s16(rounding as i16 - (128 << SHIFT));
        vshrq_n_s16::<SHIFT>(vmlaq_n_s16(vaddq_s16(neighbour, rounding), here, 3))
    };
    [divided(before, LEFT), divided(after, RIGHT)]
}

/// Red, green and blue of 16 pixels.
#[inline]
#[target_feature(enable = "neon")]
fn pixels(luma: uint8x16_t, blue: Halves, red: Halves) -> [uint8x16_t; 3] {
    let luma = halves(luma);
    let (even, odd) = (colours(luma[0], blue[0], red[0]), colours(luma[1], blue[1], red[1]));
    let clamped = |colour: usize| {
        let (even, odd) = (vqmovun_s16(even[colour]), vqmovun_s16(odd[colour]));
        vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd))
    };
    [clamped(0), clamped(1), clamped(2)]
}

/// Red, green and blue of 8 pixels, not yet clamped.
#[inline]
#[target_feature(enable = "neon")]
fn colours(luma: int16x8_t, blue: int16x8_t, red: int16x8_t) -> [int16x8_t; 3] {
    // Green's two products are summed in 32 bits before they are rounded.
    let front = vmull_n_s16(vget_low_s16(blue), GREEN_BLUE_REST);
    let front = vmlal_n_s16(front, vget_low_s16(red), GREEN_RED_REST);
    let back = vmlal_high_n_s16(vmull_high_n_s16(blue, GREEN_BLUE_REST), red, GREEN_RED_REST);
    let green = vrshrn_high_n_s32::<{ BITS as i32 }>(vrshrn_n_s32::<{ BITS as i32 }>(front), back);
    [
        vaddq_s16(luma, vaddq_s16(red, vqrdmulhq_n_s16(red, RED_REST))),
        vaddq_s16(luma, vsubq_s16(green, red)),
        vaddq_s16(luma, vaddq_s16(vaddq_s16(blue, blue), vqrdmulhq_n_s16(blue, BLUE_REST))),
    ]
}

/// Writes 16 pixels.
#[inline]
#[target_feature(enable = "neon")]
fn store([red, green, blue]: [uint8x16_t; 3], rgb: &mut Fresh) {
    let rgb: &mut [MaybeUninit<u8>; 3 * STEP] = rgb.try_into().expect("16 pixels");
    // SAFETY: 48 bytes are written, as many as there are.
    unsafe { vst3q_u8(rgb.as_mut_ptr().cast(), uint8x16x3_t(red, green, blue)) };
}
