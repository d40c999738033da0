//! YCbCr to RGB with AVX2, 32 pixels at a time, in 16 bits: a factor's whole part is added as it is, so that the rest fits.

use std::arch::x86_64::*;

use super::colour::{BITS, BLUE, GREEN_BLUE, GREEN_RED, RED};

/// Pixels at a time.
const STEP: usize = 32;
/// What is left of the factors: red's is between 1 and 2, blue's nearly 2, and green's of red nearly -1.
const RED_REST: i16 = (RED - (1 << BITS)) as i16;
const BLUE_REST: i16 = (BLUE - (2 << BITS)) as i16;
const GREEN_BLUE_REST: i16 = GREEN_BLUE as i16;
const GREEN_RED_REST: i16 = (GREEN_RED + (1 << BITS)) as i16;

/// Converts whole steps, and says how many pixels that were.
#[target_feature(enable = "avx2")]
pub(super) fn to_rgb(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) -> usize {
    let steps = luma.chunks_exact(STEP).zip(blue.chunks_exact(STEP)).zip(red.chunks_exact(STEP));
    let mut done = 0;
    for (((luma, blue), red), rgb) in steps.zip(rgb.chunks_exact_mut(3 * STEP)) {
        let first = pixels(luma, blue, red);
        let second = pixels(&luma[STEP / 2..], &blue[STEP / 2..], &red[STEP / 2..]);
        store(pack(first[0], second[0]), pack(first[1], second[1]), pack(first[2], second[2]), rgb);
        done += STEP;
    }
    done
}

/// A colour of 32 pixels as bytes, in their order within both halves of a register.
#[inline]
#[target_feature(enable = "avx2")]
fn pack(first: __m256i, second: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(first, second))
}

/// Red, green and blue of 16 pixels, not yet clamped.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels(luma: &[u8], blue: &[u8], red: &[u8]) -> [__m256i; 3] {
    let middle = _mm256_set1_epi16(128);
    let luma = widened(luma);
    let blue = _mm256_sub_epi16(widened(blue), middle);
    let red = _mm256_sub_epi16(widened(red), middle);
    // Green's two products are summed in 32 bits before they are rounded.
    let factors = _mm256_set1_epi32(i32::from(GREEN_RED_REST) << 16 | i32::from(GREEN_BLUE_REST as u16));
    let half = _mm256_set1_epi32(1 << (BITS - 1));
    let rounded = |pairs| {
        _mm256_srai_epi32::<{ BITS as i32 }>(_mm256_add_epi32(_mm256_madd_epi16(pairs, factors), half))
    };
    let green = _mm256_packs_epi32(
        rounded(_mm256_unpacklo_epi16(blue, red)),
        rounded(_mm256_unpackhi_epi16(blue, red)),
    );
    [
        _mm256_add_epi16(luma, _mm256_add_epi16(red, product(red, RED_REST))),
        _mm256_add_epi16(luma, _mm256_sub_epi16(green, red)),
        _mm256_add_epi16(luma, _mm256_add_epi16(_mm256_add_epi16(blue, blue), product(blue, BLUE_REST))),
    ]
}

/// `x * factor / 2^16`, rounded: the high half, and what the highest bit of the low half carries.
#[inline]
#[target_feature(enable = "avx2")]
fn product(x: __m256i, factor: i16) -> __m256i {
    let factor = _mm256_set1_epi16(factor);
    let carry = _mm256_srli_epi16::<15>(_mm256_mullo_epi16(x, factor));
    _mm256_add_epi16(_mm256_mulhi_epi16(x, factor), carry)
}

/// The first 16 bytes as numbers of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widened(bytes: &[u8]) -> __m256i {
    let bytes: &[u8; 16] = bytes[..16].try_into().expect("16 bytes");
    // SAFETY: 16 bytes are read, as many as there are.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Which byte of a colour comes to each of 48 in a row, 16 pixels in three registers; none where another colour does.
const fn order(register: usize, colour: usize) -> [i8; 32] {
    let mut order = [-1; 32];
    let mut at = 0;
    while at < 16 {
        let byte = register * 16 + at;
        if byte % 3 == colour {
            order[at] = (byte / 3) as i8;
            order[at + 16] = (byte / 3) as i8;
        }
        at += 1;
    }
    order
}

const ORDERS: [[[i8; 32]; 3]; 3] = [
    [order(0, 0), order(0, 1), order(0, 2)],
    [order(1, 0), order(1, 1), order(1, 2)],
    [order(2, 0), order(2, 1), order(2, 2)],
];

/// Writes 32 pixels.
#[inline]
#[target_feature(enable = "avx2")]
fn store(red: __m256i, green: __m256i, blue: __m256i, rgb: &mut [u8]) {
    let rgb: &mut [u8; 3 * STEP] = rgb.try_into().expect("32 pixels");
    for (register, orders) in ORDERS.iter().enumerate() {
        let of = |colour, order: &[i8; 32]| {
            // SAFETY: 32 bytes are read, as many as there are.
            _mm256_shuffle_epi8(colour, unsafe { _mm256_loadu_si256(order.as_ptr().cast()) })
        };
        let mixed = _mm256_or_si256(
            _mm256_or_si256(of(red, &orders[0]), of(green, &orders[1])),
            of(blue, &orders[2]),
        );
        // SAFETY: 16 bytes are written at 0, 16 or 32, and 48 after each.
        unsafe {
            let at = rgb.as_mut_ptr().add(register * 16);
            _mm_storeu_si128(at.cast(), _mm256_castsi256_si128(mixed));
            _mm_storeu_si128(at.add(48).cast(), _mm256_extracti128_si256::<1>(mixed));
        }
    }
}
