//! The inverse DCT of [`super::idct`] with AVX2: the eight columns of a pass side by side, sums in 32 bits.

use std::arch::x86_64::*;

use super::idct::{
    Block, CONST_BITS, F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175, F_1_501, F_1_847, F_1_961,
    F_2_053, F_2_562, F_3_072, PASS1_BITS, flat,
};

/// Rows, or columns, of a block of 16-bit numbers.
type Lines = [__m128i; 8];

/// The samples of a block of quantized coefficients.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
    // SAFETY: the types are as large as each other, and every pattern of bits is a value of each.
    let (coefficients, table) = unsafe {
        (
            std::mem::transmute::<Block<i16>, Lines>(*coefficients),
            std::mem::transmute::<Block<u16>, Lines>(*table),
        )
    };
    let mut vertical = coefficients[1];
    for row in &coefficients[2..] {
        vertical = _mm_or_si128(vertical, *row);
    }
    let first = _mm_mullo_epi16(coefficients[0], table[0]);
    let rows = if _mm_testz_si128(vertical, vertical) == 1 {
        let horizontal = _mm_bsrli_si128::<2>(coefficients[0]);
        if _mm_testz_si128(horizontal, horizontal) == 1 {
            return [[flat(_mm_extract_epi16::<0>(first) as i16); 8]; 8];
        }
        [_mm_slli_epi16::<{ PASS1_BITS as i32 }>(first); 8]
    } else {
        let mut dequantized = [first; 8];
        for row in 1..8 {
            dequantized[row] = _mm_mullo_epi16(coefficients[row], table[row]);
        }
        transform::<{ CONST_BITS as i32 - PASS1_BITS as i32 }>(dequantized)
    };
    samples(transform::<{ CONST_BITS as i32 + PASS1_BITS as i32 + 3 }>(transpose(rows)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn transform<const SHIFT: i32>(x: Lines) -> Lines {
    let (low, high) = (_mm_add_epi16(x[0], x[4]), _mm_sub_epi16(x[0], x[4]));
    // What rounds is added once for all.
    let half = _mm256_set1_epi32(1 << (SHIFT - 1));
    let scaled =
        |sum| _mm256_add_epi32(_mm256_slli_epi32::<{ CONST_BITS as i32 }>(_mm256_cvtepi16_epi32(sum)), half);
    let (low, high) = (scaled(low), scaled(high));
    let x26 = pairs(x[2], x[6]);
    let outer = dot(x26, F_0_541 + F_0_765, F_0_541);
    let inner = dot(x26, F_0_541, F_0_541 - F_1_847);
    let even = [
        _mm256_add_epi32(low, outer),
        _mm256_add_epi32(high, inner),
        _mm256_sub_epi32(high, inner),
        _mm256_sub_epi32(low, outer),
    ];
    let sums = pairs(_mm_add_epi16(x[7], x[3]), _mm_add_epi16(x[5], x[1]));
    let z3 = dot(sums, F_1_175 - F_1_961, F_1_175);
    let z4 = dot(sums, F_1_175, F_1_175 - F_0_390);
    let (x71, x53) = (pairs(x[7], x[1]), pairs(x[5], x[3]));
    let odd = [
        _mm256_add_epi32(dot(x71, -F_0_899, F_1_501 - F_0_899), z4),
        _mm256_add_epi32(dot(x53, -F_2_562, F_3_072 - F_2_562), z3),
        _mm256_add_epi32(dot(x53, F_2_053 - F_2_562, -F_2_562), z4),
        _mm256_add_epi32(dot(x71, F_0_298 - F_0_899, -F_0_899), z3),
    ];
    let mut out = x;
    for row in 0..4 {
        let upper = _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(even[row], odd[row]));
        let lower = _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(even[row], odd[row]));
        // The pack works within halves of a register.
        let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(upper, lower));
        out[row] = _mm256_castsi256_si128(both);
        out[7 - row] = _mm256_extracti128_si256::<1>(both);
    }
    out
}

/// The numbers of two lines, in turn.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m128i, b: __m128i) -> __m256i {
    _mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot(pairs: __m256i, first: i16, second: i16) -> __m256i {
    let factors = i32::from(second) << 16 | i32::from(first as u16);
    _mm256_madd_epi16(pairs, _mm256_set1_epi32(factors))
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose(x: Lines) -> Lines {
    let pair = |a: usize, b: usize| (_mm_unpacklo_epi16(x[a], x[b]), _mm_unpackhi_epi16(x[a], x[b]));
    let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (pair(0, 1), pair(2, 3), pair(4, 5), pair(6, 7));
    let four = |a, b| (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let ((e0, e1), (f0, f1), (g0, g1), (h0, h1)) = (four(a0, b0), four(c0, d0), four(a1, b1), four(c1, d1));
    let eight = |a, b| (_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
    let ((r0, r1), (r2, r3), (r4, r5), (r6, r7)) =
        (eight(e0, f0), eight(e1, f1), eight(g0, h0), eight(g1, h1));
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// Columns around 0 become rows of bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn samples(columns: Lines) -> Block<u8> {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = columns;
    let (a, b, c, d) =
        (_mm_packs_epi16(c0, c4), _mm_packs_epi16(c1, c5), _mm_packs_epi16(c2, c6), _mm_packs_epi16(c3, c7));
    let (c01, c45) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
    let (c23, c67) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
    let four = |a, b| (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b));
    let ((left0, left1), (right0, right1)) = (four(c01, c23), four(c45, c67));
    let rows = [
        _mm_unpacklo_epi32(left0, right0),
        _mm_unpackhi_epi32(left0, right0),
        _mm_unpacklo_epi32(left1, right1),
        _mm_unpackhi_epi32(left1, right1),
    ];
    let middle = _mm_set1_epi8(-128);
    // SAFETY: as above.
    unsafe { std::mem::transmute::<[__m128i; 4], Block<u8>>(rows.map(|row| _mm_xor_si128(row, middle))) }
}
