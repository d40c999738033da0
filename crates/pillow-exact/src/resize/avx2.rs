//! The sums of a pass with AVX2. A weight's two halves are multiplied and summed apart, which is exact: a product of 8 and 16 bits, and
//! a sum of two, fit 32 bits, and all that is added to them is modulo 2^32, as in the plain version.

use std::arch::x86_64::*;

use super::kernel::{CHANNELS, ROWS};
use super::taps::{LOW_BITS, Taps};

/// Pixels that are read at a time.
const GROUP: usize = 4;
/// Bytes that are loaded for them.
const LOAD: usize = 16;
/// Bytes of rows that are summed at a time.
const STEP: usize = 32;

/// [`super::kernel::across`]: two rows in the halves of a register, in each the three channels of two pixels side by side.
#[target_feature(enable = "avx2")]
pub(super) fn across(taps: &Taps, first: usize, lines: &[Vec<u8>; ROWS], out: [&mut [u8]; ROWS]) {
    match &taps.high {
        Some(_) => across_with::<true>(taps, first, lines, out),
        None => across_with::<false>(taps, first, lines, out),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn across_with<const HIGH: bool>(
    taps: &Taps,
    first: usize,
    lines: &[Vec<u8>; ROWS],
    mut out: [&mut [u8]; ROWS],
) {
    // Red, green and blue of the first two pixels, or of the other two, as pairs of 16-bit numbers.
    let front =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    let back = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
    ));
    let half = _mm256_set1_epi32(taps.half());
    let bits = _mm_cvtsi32_si128(taps.bits as i32);
    for (output, &(start, count)) in taps.bounds.iter().enumerate() {
        let groups = count.div_ceil(GROUP);
        let (low, high) = taps.weights(output);
        let (low, high) = (&low[..groups * GROUP], &high.unwrap_or(low)[..groups * GROUP]);
        // The last load may reach behind its group.
        let bytes =
            (start - first) * CHANNELS..(start - first + groups * GROUP) * CHANNELS + LOAD - GROUP * CHANNELS;
        let lines = lines.each_ref().map(|line| line[bytes.clone()].as_ptr());
        let (mut low_sums, mut high_sums) = ([half; 2], [_mm256_setzero_si256(); 2]);
        for group in 0..groups {
            // SAFETY: the weights of `group` are two pairs, of which one is read each time, and alignment is not asked for.
            let pair = |weights: &[i16], at: usize| unsafe {
                _mm256_set1_epi32(weights.as_ptr().add(group * GROUP + at).cast::<i32>().read_unaligned())
            };
            let (low_front, low_back) = (pair(low, 0), pair(low, 2));
            let (high_front, high_back) = (pair(high, 0), pair(high, 2));
            for both in 0..ROWS / 2 {
                // SAFETY: `bytes` has room for a load at the start of each group.
                let pixels = unsafe {
                    let load = |row: usize| _mm_loadu_si128(lines[row].add(group * GROUP * CHANNELS).cast());
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(2 * both)), load(2 * both + 1))
                };
                let (front, back) = (_mm256_shuffle_epi8(pixels, front), _mm256_shuffle_epi8(pixels, back));
                let sum = |front_weights, back_weights| {
                    _mm256_add_epi32(
                        _mm256_madd_epi16(front, front_weights),
                        _mm256_madd_epi16(back, back_weights),
                    )
                };
                low_sums[both] = _mm256_add_epi32(low_sums[both], sum(low_front, low_back));
                if HIGH {
                    high_sums[both] = _mm256_add_epi32(high_sums[both], sum(high_front, high_back));
                }
            }
        }
        let mut sums = low_sums;
        for (sum, high) in sums.iter_mut().zip(high_sums) {
            if HIGH {
                *sum = _mm256_add_epi32(*sum, _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high));
            }
            *sum = _mm256_sra_epi32(*sum, bits);
        }
        // Rows 0 and 2 in one half, 1 and 3 in the other.
        let words = _mm256_packs_epi32(sums[0], sums[1]);
        let bytes = _mm256_packus_epi16(words, words);
        let (even, odd) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
        let pixels = [
            _mm_extract_epi32::<0>(even),
            _mm_extract_epi32::<0>(odd),
            _mm_extract_epi32::<1>(even),
            _mm_extract_epi32::<1>(odd),
        ];
        // Of four bytes the last is the next pixel's first, or slack.
        for (out, pixel) in out.iter_mut().zip(pixels) {
            out[output * CHANNELS..][..GROUP].copy_from_slice(&pixel.to_le_bytes());
        }
    }
}

/// [`super::kernel::down`], as far as there are whole steps; how many bytes that is.
#[target_feature(enable = "avx2")]
pub(super) fn down(taps: &Taps, output: usize, rows: &[&[u8]], out: &mut [u8]) -> usize {
    match &taps.high {
        Some(_) => down_with::<true>(taps, output, rows, out),
        None => down_with::<false>(taps, output, rows, out),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn down_with<const HIGH: bool>(taps: &Taps, output: usize, rows: &[&[u8]], out: &mut [u8]) -> usize {
    let (low, high) = taps.weights(output);
    let high = high.unwrap_or(low);
    assert!(rows.len() <= low.len() && rows.iter().all(|row| row.len() >= out.len()));
    let half = _mm256_set1_epi32(taps.half());
    let bits = _mm_cvtsi32_si128(taps.bits as i32);
    let zero = _mm256_setzero_si256();
    let mut done = 0;
    for out in out.chunks_exact_mut(STEP) {
        let (mut low_sums, mut high_sums) = ([half; 4], [zero; 4]);
        for (pair, rows) in rows.chunks(2).enumerate() {
            // SAFETY: each row has STEP bytes at `done`, for it is as long as `out`.
            let load = |row: &[u8]| unsafe { _mm256_loadu_si256(row.as_ptr().add(done).cast()) };
            // A row without a second has a weight of zero beside its own.
            let (upper, lower) = (load(rows[0]), load(rows[rows.len() - 1]));
            let (left, right) = (_mm256_unpacklo_epi8(upper, lower), _mm256_unpackhi_epi8(upper, lower));
            let pairs = [
                _mm256_unpacklo_epi8(left, zero),
                _mm256_unpackhi_epi8(left, zero),
                _mm256_unpacklo_epi8(right, zero),
                _mm256_unpackhi_epi8(right, zero),
            ];
            let weights = |weights: &[i16]| {
                let (first, second) = (weights[2 * pair] as u16, weights[2 * pair + 1]);
                _mm256_set1_epi32(i32::from(second) << 16 | i32::from(first))
            };
            let (low, high) = (weights(low), weights(high));
            for part in 0..4 {
                low_sums[part] = _mm256_add_epi32(low_sums[part], _mm256_madd_epi16(pairs[part], low));
                if HIGH {
                    high_sums[part] = _mm256_add_epi32(high_sums[part], _mm256_madd_epi16(pairs[part], high));
                }
            }
        }
        let mut sums = low_sums;
        for (sum, high) in sums.iter_mut().zip(high_sums) {
            if HIGH {
                *sum = _mm256_add_epi32(*sum, _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high));
            }
            *sum = _mm256_sra_epi32(*sum, bits);
        }
        let bytes =
            _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
        // SAFETY: `out` is STEP bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) };
        done += STEP;
    }
    done
}
