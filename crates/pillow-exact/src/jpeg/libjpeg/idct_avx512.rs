//! The inverse DCT of [`super::idct`] with AVX-512: two blocks at a time, one in each half of a register of words.

use std::arch::x86_64::*;

use super::idct::{
    Block, CONST_BITS, F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175, F_1_501, F_1_847, F_1_961,
    F_2_053, F_2_562, F_3_072, PASS1_BITS, flat,
};

/// Rows, or columns, of two blocks of 16-bit numbers.
type Lines = [__m256i; 8];

/// The last place in zigzag order of those that lie in the first four rows and columns alone.
const LAST_OF_LOW: u8 = 9;

/// The samples of two blocks of quantized coefficients side by side, none of which is other than 0 behind place `last` in zigzag order.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub(super) fn inverse_dct(blocks: [&Block<i16>; 2], last: u8, table: &Block<u16>) -> [__m128i; 8] {
    if last == 0 {
        let [left, right] = blocks.map(|block| flat(block[0][0].wrapping_mul(table[0][0] as i16)));
        let [left, right] = [left, right].map(|sample| _mm_set1_epi8(sample as i8));
        return [_mm_unpacklo_epi64(left, right); 8];
    }
    // SAFETY: each row is as large as a register of 128 bits.
    let row = |row: usize| unsafe {
        let load = |block: &Block<i16>| _mm_loadu_si128(block[row].as_ptr().cast());
        _mm256_set_m128i(load(blocks[1]), load(blocks[0]))
    };
    let factors = |row: usize| {
        // SAFETY: as above.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table[row].as_ptr().cast()) })
    };
    let dequantized = |coefficients, row| _mm256_mullo_epi16(coefficients, factors(row));
    let coefficients: [__m256i; 4] = [row(0), row(1), row(2), row(3)];
    let mut vertical = _mm256_or_si256(_mm256_or_si256(coefficients[1], coefficients[2]), coefficients[3]);
    let first = dequantized(coefficients[0], 0);
    let low = [
        first,
        dequantized(coefficients[1], 1),
        dequantized(coefficients[2], 2),
        dequantized(coefficients[3], 3),
    ];
    if last <= LAST_OF_LOW {
        let rows = transform_low::<{ CONST_BITS - PASS1_BITS }>(low);
        let rows = without_vertical(rows, vertical, first);
        return samples(transform_low::<{ CONST_BITS + PASS1_BITS + 3 }>(transpose_low(rows)));
    }
    let coefficients = [row(4), row(5), row(6), row(7)];
    for row in coefficients {
        vertical = _mm256_or_si256(vertical, row);
    }
    let rows = transform::<{ CONST_BITS - PASS1_BITS }>([
        low[0],
        low[1],
        low[2],
        low[3],
        dequantized(coefficients[0], 4),
        dequantized(coefficients[1], 5),
        dequantized(coefficients[2], 6),
        dequantized(coefficients[3], 7),
    ]);
    let rows = without_vertical(rows, vertical, first);
    samples(transform::<{ CONST_BITS + PASS1_BITS + 3 }>(transpose(rows)))
}

/// Of a block that has no vertical frequency all rows are alike, and shifted without saturation.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn without_vertical(rows: Lines, vertical: __m256i, first: __m256i) -> Lines {
    let quarters = _mm256_test_epi64_mask(vertical, vertical);
    let is_flat = [quarters & 0b11 == 0, quarters & 0b1100 == 0];
    if is_flat == [false, false] {
        return rows;
    }
    let words = (if is_flat[0] { 0xff } else { 0 }) | (if is_flat[1] { 0xff00 } else { 0 });
    rows.map(|row| _mm256_mask_slli_epi16::<{ PASS1_BITS }>(row, words, first))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn transform<const SHIFT: u32>(x: Lines) -> Lines {
    let (low, high) =
        (scaled::<SHIFT>(_mm256_add_epi16(x[0], x[4])), scaled::<SHIFT>(_mm256_sub_epi16(x[0], x[4])));
    let x26 = pairs(x[2], x[6]);
    let outer = dot(x26, F_0_541 + F_0_765, F_0_541);
    let inner = dot(x26, F_0_541, F_0_541 - F_1_847);
    let even = [
        _mm512_add_epi32(low, outer),
        _mm512_add_epi32(high, inner),
        _mm512_sub_epi32(high, inner),
        _mm512_sub_epi32(low, outer),
    ];
    let sums = pairs(_mm256_add_epi16(x[7], x[3]), _mm256_add_epi16(x[5], x[1]));
    let z3 = dot(sums, F_1_175 - F_1_961, F_1_175);
    let z4 = dot(sums, F_1_175, F_1_175 - F_0_390);
    let (x71, x53) = (pairs(x[7], x[1]), pairs(x[5], x[3]));
    let odd = [
        _mm512_add_epi32(dot(x71, -F_0_899, F_1_501 - F_0_899), z4),
        _mm512_add_epi32(dot(x53, -F_2_562, F_3_072 - F_2_562), z3),
        _mm512_add_epi32(dot(x53, F_2_053 - F_2_562, -F_2_562), z4),
        _mm512_add_epi32(dot(x71, F_0_298 - F_0_899, -F_0_899), z3),
    ];
    rounded::<SHIFT>(even, odd)
}

/// The same where lines 4 to 7 are 0: what is left of the factors is gathered.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn transform_low<const SHIFT: u32>(x: [__m256i; 4]) -> Lines {
    let middle = scaled::<SHIFT>(x[0]);
    let x20 = pairs(x[2], _mm256_setzero_si256());
    let (outer, inner) = (dot(x20, F_0_541 + F_0_765, 0), dot(x20, F_0_541, 0));
    let even = [
        _mm512_add_epi32(middle, outer),
        _mm512_add_epi32(middle, inner),
        _mm512_sub_epi32(middle, inner),
        _mm512_sub_epi32(middle, outer),
    ];
    let x31 = pairs(x[3], x[1]);
    let odd = [
        dot(x31, F_1_175, F_1_501 - F_0_899 + F_1_175 - F_0_390),
        dot(x31, F_3_072 - F_2_562 + F_1_175 - F_1_961, F_1_175),
        dot(x31, F_1_175 - F_2_562, F_1_175 - F_0_390),
        dot(x31, F_1_175 - F_1_961, F_1_175 - F_0_899),
    ];
    rounded::<SHIFT>(even, odd)
}

/// In 32 bits, with what rounds.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn scaled<const SHIFT: u32>(line: __m256i) -> __m512i {
    let scaled = _mm512_slli_epi32::<CONST_BITS>(_mm512_cvtepi16_epi32(line));
    _mm512_add_epi32(scaled, _mm512_set1_epi32(1 << (SHIFT - 1)))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn rounded<const SHIFT: u32>(even: [__m512i; 4], odd: [__m512i; 4]) -> Lines {
    // The pack works within quarters of a register.
    let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    let mut out = [_mm256_setzero_si256(); 8];
    for row in 0..4 {
        let upper = _mm512_srai_epi32::<SHIFT>(_mm512_add_epi32(even[row], odd[row]));
        let lower = _mm512_srai_epi32::<SHIFT>(_mm512_sub_epi32(even[row], odd[row]));
        let both = _mm512_permutexvar_epi64(order, _mm512_packs_epi32(upper, lower));
        out[row] = _mm512_castsi512_si256(both);
        out[7 - row] = _mm512_extracti64x4_epi64::<1>(both);
    }
    out
}

/// The numbers of two lines, in turn.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn pairs(a: __m256i, b: __m256i) -> __m512i {
    let (low, high) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
    let order = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    _mm512_permutex2var_epi64(_mm512_castsi256_si512(low), order, _mm512_castsi256_si512(high))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn dot(pairs: __m512i, first: i16, second: i16) -> __m512i {
    let factors = i32::from(second) << 16 | i32::from(first as u16);
    _mm512_madd_epi16(pairs, _mm512_set1_epi32(factors))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn transpose(x: Lines) -> Lines {
    let pair = |a: usize, b: usize| (_mm256_unpacklo_epi16(x[a], x[b]), _mm256_unpackhi_epi16(x[a], x[b]));
    let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (pair(0, 1), pair(2, 3), pair(4, 5), pair(6, 7));
    let four = |a, b| (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let ((e0, e1), (f0, f1), (g0, g1), (h0, h1)) = (four(a0, b0), four(c0, d0), four(a1, b1), four(c1, d1));
    let eight = |a, b| (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let ((r0, r1), (r2, r3), (r4, r5), (r6, r7)) =
        (eight(e0, f0), eight(e1, f1), eight(g0, h0), eight(g1, h1));
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// The first four lines of [`transpose`].
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn transpose_low(x: Lines) -> [__m256i; 4] {
    let pair = |a: usize, b: usize| _mm256_unpacklo_epi16(x[a], x[b]);
    let (a, b, c, d) = (pair(0, 1), pair(2, 3), pair(4, 5), pair(6, 7));
    let four = |a, b| (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let ((e0, e1), (f0, f1)) = (four(a, b), four(c, d));
    let eight = |a, b| (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let ((r0, r1), (r2, r3)) = (eight(e0, f0), eight(e1, f1));
    [r0, r1, r2, r3]
}

/// Columns around 0 become rows of bytes, those of both blocks side by side.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn samples(columns: Lines) -> [__m128i; 8] {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = columns;
    let (a, b, c, d) = (
        _mm256_packs_epi16(c0, c4),
        _mm256_packs_epi16(c1, c5),
        _mm256_packs_epi16(c2, c6),
        _mm256_packs_epi16(c3, c7),
    );
    let (c01, c45) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let (c23, c67) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
    let four = |a, b| (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
    let ((left0, left1), (right0, right1)) = (four(c01, c23), four(c45, c67));
    let middle = _mm256_set1_epi8(-128);
    let row_pairs = [
        _mm256_unpacklo_epi32(left0, right0),
        _mm256_unpackhi_epi32(left0, right0),
        _mm256_unpacklo_epi32(left1, right1),
        _mm256_unpackhi_epi32(left1, right1),
    ];
    let mut rows = [_mm_setzero_si128(); 8];
    for (rows, pair) in rows.chunks_exact_mut(2).zip(row_pairs) {
        let pair = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_xor_si256(pair, middle));
        rows[0] = _mm256_castsi256_si128(pair);
        rows[1] = _mm256_extracti128_si256::<1>(pair);
    }
    rows
}
