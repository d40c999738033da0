//! YCbCr to RGB, as libjpeg rounds it: the chroma's share in 16-bit fixed point, added to the luma and clamped (jdcolor.c). Where
//! chroma is for two columns, it is put between its samples on the way, in registers.

use std::mem::MaybeUninit;

use super::upsample::stretched;
use crate::simd::Isa;

/// Bits behind the point.
pub(super) const BITS: u32 = 16;
/// The factors, in units of 2^-16.
pub(super) const RED: i32 = 91_881;
pub(super) const GREEN_BLUE: i32 = -22_554;
pub(super) const GREEN_RED: i32 = -46_802;
pub(super) const BLUE: i32 = 116_130;

/// Appends a row of pixels to `rgb`, as many as there are samples of each component.
///
/// # Panics
/// When a component has fewer samples than the luma.
pub(super) fn to_rgb(isa: Isa, luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut Vec<u8>) {
    let (blue, red) = (&blue[..luma.len()], &red[..luma.len()]);
    append(3 * luma.len(), rgb, |rgb| {
        #[cfg(target_arch = "x86_64")]
        if isa.has_avx512() {
            // SAFETY: the CPU has AVX-512.
            #[allow(unsafe_code)]
            return unsafe { super::colour_avx512::to_rgb(luma, blue, red, rgb) };
        }
        #[cfg(target_arch = "x86_64")]
        if isa.has_avx2() {
            // SAFETY: the CPU has AVX2.
            #[allow(unsafe_code)]
            return unsafe { super::colour_avx2::to_rgb(luma, blue, red, rgb) };
        }
        #[cfg(target_arch = "aarch64")]
        if isa.has_neon() {
            // SAFETY: the CPU has NEON.
            #[allow(unsafe_code)]
            return unsafe { super::colour_neon::to_rgb(luma, blue, red, rgb) };
        }
        let _ = isa;
        for (((pixel, &y), &blue), &red) in rgb.chunks_exact_mut(3).zip(luma).zip(blue).zip(red) {
            fill(pixel, pixel_of(y, blue, red));
        }
    });
}

/// As [`to_rgb`], with the sums of chroma that [`upsample`](super::upsample) stretches to two columns, and a neighbour on both sides.
///
/// # Panics
/// When a component has fewer samples than the luma needs.
pub(super) fn stretched_to_rgb<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(
    isa: Isa,
    luma: &[u8],
    blue: &[u16],
    red: &[u16],
    rgb: &mut Vec<u8>,
) {
    let sums = luma.len().div_ceil(2) + 2;
    let (blue, red) = (&blue[..sums], &red[..sums]);
    append(3 * luma.len(), rgb, |rgb| {
        #[cfg(target_arch = "x86_64")]
        if isa.has_avx512() {
            // SAFETY: the CPU has AVX-512.
            #[allow(unsafe_code)]
            return unsafe {
                super::colour_avx512::stretched_to_rgb::<LEFT, RIGHT, SHIFT>(luma, blue, red, rgb);
            };
        }
        #[cfg(target_arch = "x86_64")]
        if isa.has_avx2() {
            // SAFETY: the CPU has AVX2.
            #[allow(unsafe_code)]
            return unsafe {
                super::colour_avx2::stretched_to_rgb::<LEFT, RIGHT, SHIFT>(luma, blue, red, rgb);
            };
        }
        #[cfg(target_arch = "aarch64")]
        if isa.has_neon() {
            // SAFETY: the CPU has NEON.
            #[allow(unsafe_code)]
            return unsafe {
                super::colour_neon::stretched_to_rgb::<LEFT, RIGHT, SHIFT>(luma, blue, red, rgb);
            };
        }
        let _ = isa;
        let pairs = blue.windows(3).zip(red.windows(3));
        for ((pixels, luma), (blue, red)) in rgb.chunks_mut(6).zip(luma.chunks(2)).zip(pairs) {
            let blue = stretched::<LEFT, RIGHT, SHIFT>(blue[0], blue[1], blue[2]);
            let red = stretched::<LEFT, RIGHT, SHIFT>(red[0], red[1], red[2]);
            for (((pixel, &y), blue), red) in pixels.chunks_exact_mut(3).zip(luma).zip(blue).zip(red) {
                fill(pixel, pixel_of(y, blue, red));
            }
        }
    });
}

/// Bytes that are written before they are read: to set them first would take as long as a step of the decoder, where they are not in the
/// cache.
pub(super) type Fresh = [MaybeUninit<u8>];

fn fill(fresh: &mut Fresh, bytes: impl IntoIterator<Item = u8>) {
    for (fresh, byte) in fresh.iter_mut().zip(bytes) {
        fresh.write(byte);
    }
}

/// Appends `count` bytes, all of which `write` writes.
fn append(count: usize, bytes: &mut Vec<u8>, write: impl FnOnce(&mut Fresh)) {
    bytes.reserve(count);
    write(&mut bytes.spare_capacity_mut()[..count]);
    // SAFETY: there is room for them, and each way above has written them: whole steps, and what is left.
    #[allow(unsafe_code)]
    unsafe {
        bytes.set_len(bytes.len() + count);
    }
}

fn pixel_of(y: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << (BITS - 1);
    let (y, blue, red) = (i32::from(y), i32::from(blue) - 128, i32::from(red) - 128);
    let add = |share: i32| (y + ((share + HALF) >> BITS)).clamp(0, 255) as u8;
    [add(RED * red), add(GREEN_BLUE * blue + GREEN_RED * red), add(BLUE * blue)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_the_same_on_every_instruction_set() {
        let all: Vec<u8> = (0..=255).collect();
        for isa in Isa::all() {
            let row = |isa, luma: &[u8], blue: &[u8], red: &[u8]| {
                let mut rgb = vec![7];
                to_rgb(isa, luma, blue, red, &mut rgb);
                rgb
            };
            let same = |luma: &[u8], blue: &[u8], red: &[u8]| {
                let expected = row(Isa::plain(), luma, blue, red);
                assert_eq!(expected.len(), 1 + 3 * luma.len());
                assert_eq!(row(isa, luma, blue, red), expected, "{isa:?} {} {}", blue.len(), luma.len());
            };
            for (blue, red) in (0..=255).flat_map(|blue| (0..=255).map(move |red| (blue, red))) {
                same(&all, &[blue; 256], &[red; 256]);
            }
            // Every length, and other bytes side by side.
            let (blue, red): (Vec<u8>, Vec<u8>) =
                all.iter().map(|&i| (i.wrapping_mul(37), i.wrapping_mul(91))).unzip();
            for count in 0..200 {
                same(&all[..count], &blue, &red);
            }
        }
    }

    /// Against a row that is stretched first and coloured afterwards.
    fn holds_when_stretched<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>() {
        let noise = |count: usize, seed: u32| -> Vec<u16> {
            let most = (255 << SHIFT) / 4;
            let value =
                |i: u32| ((i.wrapping_mul(0x9e37_79b9) ^ seed).wrapping_mul(0x85eb_ca6b) >> 16) % (most + 1);
            // Extremes overflow what could overflow.
            (0..count as u32)
                .map(|i| if i % 5 == seed % 5 { [0, most][i as usize & 1] } else { value(i) } as u16)
                .collect()
        };
        for count in (0..200usize).chain([1919, 1920]) {
            let sums = count.div_ceil(2) + 2;
            let (blue, red) = (noise(sums, 1), noise(sums, 2));
            let luma: Vec<u8> = noise(count, 3).iter().map(|&sum| sum as u8).collect();
            let stretch = |sums: &[u16]| -> Vec<u8> {
                let pairs =
                    sums.windows(3).map(|sums| stretched::<LEFT, RIGHT, SHIFT>(sums[0], sums[1], sums[2]));
                pairs.flatten().collect()
            };
            let mut expected = Vec::new();
            to_rgb(Isa::plain(), &luma, &stretch(&blue), &stretch(&red), &mut expected);
            for isa in Isa::all() {
                let mut found = Vec::new();
                stretched_to_rgb::<LEFT, RIGHT, SHIFT>(isa, &luma, &blue, &red, &mut found);
                assert_eq!(found, expected, "{isa:?} {count} {SHIFT}");
            }
        }
    }

    #[test]
    fn chroma_for_two_columns_is_the_same_as_stretched_first() {
        holds_when_stretched::<1, 2, 2>();
        holds_when_stretched::<8, 7, 4>();
    }
}
