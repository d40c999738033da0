//! [`super::colour_avx2`] with AVX-512: 64 pixels at a time, which one instruction for each colour and register puts in their order.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::colour::{BITS, Fresh};
use super::colour_avx2::GREEN_RESTS;
use super::colour_steps::{BLUE_REST, RED_REST, padded, rows_in_steps};

/// Pixels at a time.
const STEP: usize = 64;
/// Sums of chroma for them, with a neighbour on both sides.
const SUMS: usize = STEP / 2 + 2;

/// Words of even and of odd pixels.
type Halves = [__m512i; 2];

rows_in_steps!("avx512bw,avx512vbmi");

/// The first 64 bytes.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn bytes(samples: &[u8]) -> __m512i {
    let samples: &[u8; STEP] = samples[..STEP].try_into().expect("64 samples");
    // SAFETY: 64 bytes are read, as many as there are.
    unsafe { _mm512_loadu_si512(samples.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn halves(bytes: __m512i) -> Halves {
    [_mm512_and_si512(bytes, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(bytes)]
}

/// Chroma of each pixel, around 0.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn centred(chroma: __m512i) -> Halves {
    halves(chroma).map(|half| _mm512_sub_epi16(half, _mm512_set1_epi16(128)))
}

/// Chroma of two columns each, around 0.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn stretched<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(sums: &[u16]) -> Halves {
    let sums: &[u16; SUMS] = sums[..SUMS].try_into().expect("sums of a step");
    // SAFETY: 32 numbers are read at 0, 1 and 2, of 34.
    let at = |at: usize| unsafe { _mm512_loadu_si512(sums.as_ptr().add(at).cast()) };
    let (before, here, after) = (at(0), at(1), at(2));
    let three = _mm512_add_epi16(here, _mm512_add_epi16(here, here));
    let divided = |neighbour, rounding: u16| {
        let rounding = _mm512_set1_epi16(rounding as i16 - (128 << SHIFT));
        let sum = _mm512_add_epi16(_mm512_add_epi16(three, neighbour), rounding);
        _mm512_sra_epi16(sum, _mm_cvtsi32_si128(SHIFT))
    };
    [divided(before, LEFT), divided(after, RIGHT)]
}

/// Red, green and blue of 64 pixels as bytes: within each quarter of a register eight even ones, then eight odd ones.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn pixels(luma: __m512i, blue: Halves, red: Halves) -> [__m512i; 3] {
    let luma = halves(luma);
    let (even, odd) = (colours(luma[0], blue[0], red[0]), colours(luma[1], blue[1], red[1]));
    [
        _mm512_packus_epi16(even[0], odd[0]),
        _mm512_packus_epi16(even[1], odd[1]),
        _mm512_packus_epi16(even[2], odd[2]),
    ]
}

/// Red, green and blue of 32 pixels, not yet clamped.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn colours(luma: __m512i, blue: __m512i, red: __m512i) -> [__m512i; 3] {
    let half = _mm512_set1_epi32(1 << (BITS - 1));
    let rounded = |pairs| {
        let sums = _mm512_madd_epi16(pairs, _mm512_set1_epi32(GREEN_RESTS));
        _mm512_srai_epi32::<BITS>(_mm512_add_epi32(sums, half))
    };
    let green = _mm512_packs_epi32(
        rounded(_mm512_unpacklo_epi16(blue, red)),
        rounded(_mm512_unpackhi_epi16(blue, red)),
    );
    let product = |x, factor| _mm512_mulhrs_epi16(x, _mm512_set1_epi16(factor));
    [
        _mm512_add_epi16(luma, _mm512_add_epi16(red, product(red, RED_REST))),
        _mm512_add_epi16(luma, _mm512_sub_epi16(green, red)),
        _mm512_add_epi16(luma, _mm512_add_epi16(_mm512_add_epi16(blue, blue), product(blue, BLUE_REST))),
    ]
}

/// Which byte of its colour comes to each of 64 in one of three registers.
const fn order(register: usize) -> [u8; 64] {
    let mut order = [0; 64];
    let mut at = 0;
    while at < 64 {
        let pixel = (register * 64 + at) / 3;
        order[at] = (pixel / 16 * 16 + pixel % 16 / 2 + pixel % 2 * 8) as u8;
        at += 1;
    }
    order
}

/// The bytes of a register that a colour comes to.
const fn places(register: usize, colour: usize) -> u64 {
    let mut places = 0;
    let mut at = 0;
    while at < 64 {
        if (register * 64 + at) % 3 == colour {
            places |= 1 << at;
        }
        at += 1;
    }
    places
}

const ORDERS: [[u8; 64]; 3] = [order(0), order(1), order(2)];
const PLACES: [[u64; 2]; 3] =
    [[places(0, 1), places(0, 2)], [places(1, 1), places(1, 2)], [places(2, 1), places(2, 2)]];

/// Writes 64 pixels.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn store([red, green, blue]: [__m512i; 3], rgb: &mut Fresh) {
    let rgb: &mut [MaybeUninit<u8>; 3 * STEP] = rgb.try_into().expect("64 pixels");
    for (register, (order, places)) in ORDERS.iter().zip(PLACES).enumerate() {
        // SAFETY: 64 bytes are read, as many as there are.
        let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
        let mixed = _mm512_permutexvar_epi8(order, red);
        let mixed = _mm512_mask_permutexvar_epi8(mixed, places[0], order, green);
        let mixed = _mm512_mask_permutexvar_epi8(mixed, places[1], order, blue);
        // SAFETY: 64 bytes are written at 0, 64 or 128, of 192.
        unsafe { _mm512_storeu_si512(rgb.as_mut_ptr().add(register * 64).cast(), mixed) };
    }
}
