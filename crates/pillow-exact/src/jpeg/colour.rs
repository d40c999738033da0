//! YCbCr to RGB, as libjpeg rounds it: the chroma's share in 16-bit fixed point, added to the luma and clamped (jdcolor.c).

use crate::simd::Isa;

/// Bits behind the point.
pub(super) const BITS: u32 = 16;
/// The factors, in units of 2^-16.
pub(super) const RED: i32 = 91_881;
pub(super) const GREEN_BLUE: i32 = -22_554;
pub(super) const GREEN_RED: i32 = -46_802;
pub(super) const BLUE: i32 = 116_130;

/// Fills `rgb` with as many pixels as it has room for.
///
/// # Panics
/// When a component has fewer samples.
pub(super) fn to_rgb(isa: Isa, luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) {
    let count = rgb.len() / 3;
    let (luma, blue, red) = (&luma[..count], &blue[..count], &red[..count]);
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa.has_avx2() {
        // SAFETY: the CPU has AVX2.
        #[allow(unsafe_code)]
        unsafe {
            done = super::colour_avx2::to_rgb(luma, blue, red, rgb);
        }
    }
    let _ = isa;
    plain(&luma[done..], &blue[done..], &red[done..], &mut rgb[done * 3..]);
}

fn plain(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) {
    const HALF: i32 = 1 << (BITS - 1);
    for (((pixel, &y), &blue), &red) in rgb.chunks_exact_mut(3).zip(luma).zip(blue).zip(red) {
        let (y, blue, red) = (i32::from(y), i32::from(blue) - 128, i32::from(red) - 128);
        let add = |share: i32| (y + ((share + HALF) >> BITS)).clamp(0, 255) as u8;
        pixel[0] = add(RED * red);
        pixel[1] = add(GREEN_BLUE * blue + GREEN_RED * red);
        pixel[2] = add(BLUE * blue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_the_same_on_every_instruction_set() {
        let all: Vec<u8> = (0..=255).collect();
        for isa in Isa::all() {
            for (blue, red) in (0..=255).flat_map(|blue| (0..=255).map(move |red| (blue, red))) {
                let (mut found, mut expected) = ([0; 256 * 3], [0; 256 * 3]);
                to_rgb(isa, &all, &[blue; 256], &[red; 256], &mut found);
                plain(&all, &[blue; 256], &[red; 256], &mut expected);
                assert_eq!(found, expected, "{isa:?} {blue} {red}");
            }
            // Every length, and other bytes side by side.
            for count in 0..100 {
                let (blue, red): (Vec<u8>, Vec<u8>) =
                    all.iter().map(|&i| (i.wrapping_mul(37), i.wrapping_mul(91))).unzip();
                let (mut found, mut expected) = (vec![0; count * 3], vec![0; count * 3]);
                to_rgb(isa, &all, &blue, &red, &mut found);
                plain(&all, &blue, &red, &mut expected);
                assert_eq!(found, expected, "{isa:?} {count}");
            }
        }
    }
}
