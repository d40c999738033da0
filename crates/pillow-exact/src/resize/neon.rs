//! The sums of a pass with NEON. A weight's two halves are multiplied and summed apart, each product in 32 bits, and all that is added is
//! modulo 2^32, as in the plain version.

use std::arch::aarch64::*;

use super::kernel::{CHANNELS, ROWS};
use super::taps::{LOW_BITS, Taps};

/// Pixels that are read at a time.
const GROUP: usize = 8;
/// Bytes of rows that are summed at a time.
const STEP: usize = 32;

/// [`super::kernel::across`]: eight pixels of a row at a time, each channel in a register.
#[target_feature(enable = "neon")]
pub(super) fn across(taps: &Taps, first: usize, lines: &[Vec<u8>; ROWS], out: [&mut [u8]; ROWS]) {
    match &taps.high {
        Some(_) => across_with::<true>(taps, first, lines, out),
        None => across_with::<false>(taps, first, lines, out),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn across_with<const HIGH: bool>(
    taps: &Taps,
    first: usize,
    lines: &[Vec<u8>; ROWS],
    mut out: [&mut [u8]; ROWS],
) {
    for (output, &(start, count)) in taps.bounds.iter().enumerate() {
        let count = count.next_multiple_of(GROUP);
        let (low, high) = taps.weights(output);
        let (low, high) = (&low[..count], &high.unwrap_or(low)[..count]);
        let bytes = (start - first) * CHANNELS..(start - first + count) * CHANNELS;
        for (line, out) in lines.iter().zip(&mut out) {
            let words = vqmovn_s32(pixel::<HIGH>(taps, &line[bytes.clone()], low, high));
            let bytes = vqmovun_s16(vcombine_s16(words, words));
            // Of four bytes the last is the next pixel's first, or slack.
            let four = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes));
            out[output * CHANNELS..][..4].copy_from_slice(&four.to_le_bytes());
        }
    }
}

/// Red, green, and blue twice, of the pixel that some become, not yet clamped.
#[inline]
#[target_feature(enable = "neon")]
fn pixel<const HIGH: bool>(taps: &Taps, pixels: &[u8], low: &[i16], high: &[i16]) -> int32x4_t {
    let (mut low_sums, mut high_sums) = ([vdupq_n_s32(0); CHANNELS], [vdupq_n_s32(0); CHANNELS]);
    let weights = low.chunks_exact(GROUP).zip(high.chunks_exact(GROUP));
    for (pixels, (low, high)) in pixels.chunks_exact(GROUP * CHANNELS).zip(weights) {
        // SAFETY: eight pixels are read and as many weights, which is a group.
        let (pixels, low, high) =
            unsafe { (vld3_u8(pixels.as_ptr()), vld1q_s16(low.as_ptr()), vld1q_s16(high.as_ptr())) };
        for (channel, values) in [pixels.0, pixels.1, pixels.2].into_iter().enumerate() {
            let values = vreinterpretq_s16_u16(vmovl_u8(values));
            let with = |sums, weights| {
                let sums = vmlal_s16(sums, vget_low_s16(values), vget_low_s16(weights));
                vmlal_high_s16(sums, values, weights)
            };
            low_sums[channel] = with(low_sums[channel], low);
            if HIGH {
                high_sums[channel] = with(high_sums[channel], high);
            }
        }
    }
    let gathered = |[red, green, blue]: [int32x4_t; CHANNELS]| {
        vpaddq_s32(vpaddq_s32(red, green), vpaddq_s32(blue, blue))
    };
    rounded::<HIGH>(taps, gathered(low_sums), gathered(high_sums))
}

/// The sums of both halves of the weights become one, which is rounded.
#[inline]
#[target_feature(enable = "neon")]
fn rounded<const HIGH: bool>(taps: &Taps, low: int32x4_t, high: int32x4_t) -> int32x4_t {
    let mut sums = vaddq_s32(low, vdupq_n_s32(taps.half()));
    if HIGH {
        sums = vaddq_s32(sums, vshlq_n_s32::<{ LOW_BITS as i32 }>(high));
    }
    // To the left by less than nothing is to the right.
    vshlq_s32(sums, vdupq_n_s32(-(taps.bits as i32)))
}

/// [`super::kernel::down`], as far as there are whole steps; how many bytes that is.
#[target_feature(enable = "neon")]
pub(super) fn down(taps: &Taps, output: usize, rows: &[&[u8]], out: &mut [u8]) -> usize {
    match &taps.high {
        Some(_) => down_with::<true>(taps, output, rows, out),
        None => down_with::<false>(taps, output, rows, out),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn down_with<const HIGH: bool>(taps: &Taps, output: usize, rows: &[&[u8]], out: &mut [u8]) -> usize {
    let (low, high) = taps.weights(output);
    let high = high.unwrap_or(low);
    assert!(rows.len() <= low.len() && rows.iter().all(|row| row.len() >= out.len()));
    let mut done = 0;
    for out in out.chunks_exact_mut(STEP) {
        let (mut low_sums, mut high_sums) = ([vdupq_n_s32(0); STEP / 4], [vdupq_n_s32(0); STEP / 4]);
        for ((row, &low), &high) in rows.iter().zip(low).zip(high) {
            // SAFETY: each row has STEP bytes at `done`, for it is as long as `out`, and 16 are read at 0 and 16 of them.
            let load = |at: usize| unsafe { vld1q_u8(row.as_ptr().add(done + at)) };
            for (half, bytes) in [load(0), load(16)].into_iter().enumerate() {
                let words = [vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)];
                for (quarter, words) in
                    words.map(|words| vreinterpretq_s16_u16(words)).into_iter().enumerate()
                {
                    let at = 4 * half + 2 * quarter;
                    let add = |sums: &mut [int32x4_t], weight| {
                        sums[at] = vmlal_n_s16(sums[at], vget_low_s16(words), weight);
                        sums[at + 1] = vmlal_high_n_s16(sums[at + 1], words, weight);
                    };
                    add(&mut low_sums, low);
                    if HIGH {
                        add(&mut high_sums, high);
                    }
                }
            }
        }
        for (at, out) in out.chunks_exact_mut(8).enumerate() {
            let sums = |at: usize| rounded::<HIGH>(taps, low_sums[at], high_sums[at]);
            let words = vqmovn_high_s32(vqmovn_s32(sums(2 * at)), sums(2 * at + 1));
            // SAFETY: 8 bytes are written, as many as there are.
            unsafe { vst1_u8(out.as_mut_ptr(), vqmovun_s16(words)) };
        }
        done += STEP;
    }
    done
}
