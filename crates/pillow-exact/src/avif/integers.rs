//! Colours as libyuv makes them in whole numbers, where it knows the matrix (`YuvPixel`, `I420ToARGBMatrixBilinear` and their kin).

use super::planes::{Layout, Picture, Plane};
use super::properties::Colours;

/// A matrix in 64ths, and luma's factor in 16 bits (`row_common.cc`, on machines that are not ARM).
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    luma: u32,
    bias: i32,
    blue: i32,
    green: [i32; 2],
    red: i32,
}

/// What `getLibYUVConstants` finds: none for matrices that libavif converts by itself.
pub(super) fn matrix(colours: Colours, layout: Layout) -> Option<Matrix> {
    let number = match (colours.matrix, colours.primaries) {
        (0, _) if layout == Layout::Grey => 6,
        // Derived from the primaries.
        (12, 1 | 2) => 1,
        (12, 5 | 6) => 6,
        (12, 9) => 9,
        (number, _) => number,
    };
    let [blue, green_blue, green_red, red] = match (number, colours.is_full_range) {
        (1, true) => [119, 12, 30, 101],
        (2 | 5 | 6, true) => [113, 22, 46, 90],
        (9, true) => [120, 11, 37, 94],
        (1, false) => [128, 14, 34, 115],
        (2 | 5 | 6, false) => [128, 25, 52, 102],
        (9, false) => [128, 12, 42, 107],
        _ => return None,
    };
    let (luma, bias) = match (colours.is_full_range, number) {
        (true, _) => (16_320, 32),
        (false, 9) => (19_003, -1160),
        (false, _) => (18_997, -1160),
    };
    Some(Matrix { luma, bias, blue, green: [green_blue, green_red], red })
}

impl Matrix {
    /// `luma` fills 16 bits, chroma 8.
    fn rgb(&self, luma: u32, blue: u16, red: u16) -> [u8; 3] {
        let luma = ((luma * self.luma) >> 16) as i32 + self.bias;
        let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
        let channel = |value: i32| (value >> 6).clamp(0, 255) as u8;
        [
            channel(luma + red * self.red),
            channel(luma - (blue * self.green[0] + red * self.green[1])),
            channel(luma + blue * self.blue),
        ]
    }

    /// `I400ToARGBMatrix`, of 8 bits.
    pub(super) fn grey(&self, luma: &Plane) -> Vec<u8> {
        luma.samples.iter().flat_map(|&luma| self.rgb(u32::from(luma) * 0x101, 128, 128)).collect()
    }

    /// Red, green and blue. Chroma of fewer samples is doubled between its neighbours, of 12 bits it is repeated.
    pub(super) fn colours(&self, picture: &Picture) -> Vec<u8> {
        let mut out = vec![0; picture.width * picture.height * 3];
        let (mut blues, mut reds) = (vec![0; picture.width], vec![0; picture.width]);
        let [luma, blue, red] = picture.planes.as_slice() else { return out };
        let (widen, narrow) = (16 - picture.depth, picture.depth - 8);
        for (y, pixels) in out.chunks_exact_mut(picture.width * 3).enumerate() {
            chroma_row(picture, blue, y, &mut blues);
            chroma_row(picture, red, y, &mut reds);
            let samples = luma.row(y).iter().zip(&blues).zip(&reds);
            for (pixel, ((&luma, &blue), &red)) in pixels.chunks_exact_mut(3).zip(samples) {
                // The sample, and its own highest bits behind it.
                let luma = u32::from(luma) << widen | u32::from(luma) >> (picture.depth - widen);
                pixel.copy_from_slice(&self.rgb(luma, (blue >> narrow).min(255), (red >> narrow).min(255)));
            }
        }
        out
    }
}

/// A row of chroma as wide as the picture.
fn chroma_row(picture: &Picture, plane: &Plane, y: usize, out: &mut [u16]) {
    match picture.layout {
        Layout::Full | Layout::Grey => out.copy_from_slice(plane.row(y)),
        Layout::Across => across(|x| u32::from(plane.row(y)[x]), 2, out),
        // `I012ToARGBMatrix` has no filter.
        Layout::Both if picture.depth == 12 => {
            let row = plane.row(y / 2);
            out.iter_mut().enumerate().for_each(|(x, value)| *value = row[x / 2]);
        }
        Layout::Both => {
            // The row above is nearer to even ones but the first, the row below to odd ones but the last.
            let near = plane.row(y / 2);
            let other = if y % 2 == 1 { y / 2 + 1 } else { (y / 2).wrapping_sub(1) };
            if other < plane.height {
                let far = plane.row(other);
                across(|x| 3 * u32::from(near[x]) + u32::from(far[x]), 4, out);
            } else {
                across(|x| u32::from(near[x]), 2, out);
            }
        }
    }
}

/// Doubles a row, 3 to 1; the first and the last value have one neighbour. `shift` divides by the weights of all.
fn across(value: impl Fn(usize) -> u32, shift: u32, out: &mut [u16]) {
    let half = 1 << (shift - 1);
    let (last, count) = (out.len() - 1, out.len());
    let alone = |at: usize| ((4 * value(at) + half) >> shift) as u16;
    (out[0], out[last]) = (alone(0), alone(last / 2));
    // Two values between each two samples.
    let mut left = value(0);
    for (index, pair) in out[1..].chunks_exact_mut(2).take((count - 1) / 2).enumerate() {
        let right = value((index + 1).min(last / 2));
        pair[0] = ((3 * left + right + half) >> shift) as u16;
        if 2 * index + 2 < last {
            pair[1] = ((left + 3 * right + half) >> shift) as u16;
        }
        left = right;
    }
}

/// Undoes the multiplication by alpha (`ARGBUnattenuateRow_AVX2`): of values above their alpha, which no encoder means to write, the
/// vector code takes the highest for negative.
pub(super) fn divided(rgb: &mut [u8], alpha: &[u8]) {
    for (pixel, &alpha) in rgb.chunks_exact_mut(3).zip(alpha) {
        let inverse = match alpha {
            0 => 0,
            1 => 0xffff,
            255 => 0x100,
            alpha => 0x10000 / u32::from(alpha),
        };
        for value in pixel {
            let product = (u32::from(*value) * 0x101 * inverse) >> 16;
            *value = (product as u16 as i16).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chroma_is_doubled_between_its_neighbours() {
        let mut out = [0; 6];
        across(|x| [10, 20, 40][x], 2, &mut out);
        assert_eq!(out, [10, 13, 18, 25, 35, 40]);
        let mut odd = [0; 5];
        across(|x| [10, 20, 40][x], 2, &mut odd);
        assert_eq!(odd, [10, 13, 18, 25, 40]);
    }

    #[test]
    fn grey_is_luma_in_full_range() {
        let colours = Colours { primaries: 1, matrix: 6, is_full_range: true };
        let matrix = matrix(colours, Layout::Full).expect("a matrix that is known");
        for value in 0..=255u8 {
            assert_eq!(matrix.rgb(u32::from(value) * 0x101, 128, 128), [value; 3]);
        }
    }
}
