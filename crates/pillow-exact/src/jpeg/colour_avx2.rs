//! YCbCr to RGB with AVX2, 32 pixels at a time, in 16 bits. Even and odd pixels go apart, for that is how chroma for two columns comes,
//! and how a register of bytes becomes two of words.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::colour::{BITS, Fresh};
use super::colour_steps::{BLUE_REST, GREEN_BLUE_REST, GREEN_RED_REST, RED_REST, padded, rows_in_steps};

/// Pixels at a time.
const STEP: usize = 32;
/// Sums of chroma for them, with a neighbour on both sides.
const SUMS: usize = STEP / 2 + 2;

/// Green's two factors side by side.
pub(super) const GREEN_RESTS: i32 = (GREEN_RED_REST as i32) << 16 | GREEN_BLUE_REST as u16 as i32;

/// Words of even and of odd pixels.
type Halves = [__m256i; 2];

rows_in_steps!("avx2");

/// The first 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(samples: &[u8]) -> __m256i {
    let samples: &[u8; STEP] = samples[..STEP].try_into().expect("32 samples");
    // SAFETY: 32 bytes are read, as many as there are.
    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(bytes: __m256i) -> Halves {
    [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)]
}

/// Chroma of each pixel, around 0.
#[inline]
#[target_feature(enable = "avx2")]
fn centred(chroma: __m256i) -> Halves {
    halves(chroma).map(|half| _mm256_sub_epi16(half, _mm256_set1_epi16(128)))
}

/// Chroma of two columns each, around 0.
#[inline]
#[target_feature(enable = "avx2")]
fn stretched<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(sums: &[u16]) -> Halves {
    let sums: &[u16; SUMS] = sums[..SUMS].try_into().expect("sums of a step");
    // SAFETY: 16 numbers are read at 0, 1 and 2, of 18.
    let at = |at: usize| unsafe { _mm256_loadu_si256(sums.as_ptr().add(at).cast()) };
    let (before, here, after) = (at(0), at(1), at(2));
    let three = _mm256_add_epi16(here, _mm256_add_epi16(here, here));
    let divided = |neighbour, rounding: u16| {
        let rounding = _mm256_set1_epi16(rounding as i16 - (128 << SHIFT));
        _mm256_srai_epi16::<SHIFT>(_mm256_add_epi16(_mm256_add_epi16(three, neighbour), rounding))
    };
    [divided(before, LEFT), divided(after, RIGHT)]
}

/// Red, green and blue of 32 pixels as bytes: within each half of a register eight even ones, then eight odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels(luma: __m256i, blue: Halves, red: Halves) -> [__m256i; 3] {
    let luma = halves(luma);
    let (even, odd) = (colours(luma[0], blue[0], red[0]), colours(luma[1], blue[1], red[1]));
    [
        _mm256_packus_epi16(even[0], odd[0]),
        _mm256_packus_epi16(even[1], odd[1]),
        _mm256_packus_epi16(even[2], odd[2]),
    ]
}

/// Red, green and blue of 16 pixels, not yet clamped.
#[inline]
#[target_feature(enable = "avx2")]
fn colours(luma: __m256i, blue: __m256i, red: __m256i) -> [__m256i; 3] {
    // Green's two products are summed in 32 bits before they are rounded.
    let half = _mm256_set1_epi32(1 << (BITS - 1));
    let rounded = |pairs| {
        let sums = _mm256_madd_epi16(pairs, _mm256_set1_epi32(GREEN_RESTS));
        _mm256_srai_epi32::<{ BITS as i32 }>(_mm256_add_epi32(sums, half))
    };
    let green = _mm256_packs_epi32(
        rounded(_mm256_unpacklo_epi16(blue, red)),
        rounded(_mm256_unpackhi_epi16(blue, red)),
    );
    let product = |x, factor| _mm256_mulhrs_epi16(x, _mm256_set1_epi16(factor));
    [
        _mm256_add_epi16(luma, _mm256_add_epi16(red, product(red, RED_REST))),
        _mm256_add_epi16(luma, _mm256_sub_epi16(green, red)),
        _mm256_add_epi16(luma, _mm256_add_epi16(_mm256_add_epi16(blue, blue), product(blue, BLUE_REST))),
    ]
}

/// Which byte of a colour comes to each of 48 in a row, 16 pixels in three registers; none where another colour does.
const fn order(register: usize, colour: usize) -> [i8; 32] {
    let mut order = [-1; 32];
    let mut at = 0;
    while at < 16 {
        let byte = register * 16 + at;
        if byte % 3 == colour {
            let pixel = byte / 3;
            order[at] = (pixel / 2 + pixel % 2 * 8) as i8;
            order[at + 16] = order[at];
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
fn store([red, green, blue]: [__m256i; 3], rgb: &mut Fresh) {
    let rgb: &mut [MaybeUninit<u8>; 3 * STEP] = rgb.try_into().expect("32 pixels");
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
