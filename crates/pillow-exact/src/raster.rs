//! Decoded pixels in the modes that Pillow distinguishes, and Pillow's conversions of them to RGB.

use ::image::RgbImage;

use crate::error::DecodeError;
use crate::options::Alpha;

/// Pixels in one of Pillow's modes, row by row.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// `L`, and `1` as 0 and 255.
    Grey(Vec<u8>),
    /// `LA`: grey and alpha in turn.
    GreyAlpha(Vec<u8>),
    /// `I;16` and `I`, clamped to 16 bits: it makes no difference, for all above 255 is white.
    Grey16(Vec<u16>),
    /// `RGB`.
    Rgb(Vec<u8>),
    /// `RGBA`.
    Rgba(Vec<u8>),
    /// `CMYK`: 0 is no ink.
    Cmyk(Vec<u8>),
    /// `P`: indices into a palette.
    Indexed(Vec<u8>, Box<Palette>),
    /// `PA`: index and alpha in turn.
    IndexedAlpha(Vec<u8>, Box<Palette>),
}

/// 256 colours; those that a file leaves out are black, as in Pillow.
pub(crate) type Palette = [[u8; 3]; 256];

/// What Pillow keeps as `info["transparency"]`.
#[derive(Debug)]
pub(crate) enum Transparency {
    /// One palette index is fully transparent.
    Index(usize),
    /// Alpha of the first palette entries.
    Alphas(Vec<u8>),
    /// One colour is fully transparent, compared by its low byte only; grey uses the first value.
    Colour([u8; 3]),
}

/// A decoded picture before its conversion to RGB.
#[derive(Debug)]
pub(crate) struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Pixels,
    pub(crate) transparency: Option<Transparency>,
    /// EXIF and XMP, where the orientation is looked up.
    pub(crate) metadata: Metadata,
}

/// The metadata blocks that can hold an orientation.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// A TIFF structure, with or without `Exif\0\0` before it.
    pub(crate) exif: Option<Vec<u8>>,
    /// An XMP packet.
    pub(crate) xmp: Option<Vec<u8>>,
    /// The orientation of a format whose pictures Pillow always turns upright (TIFF).
    pub(crate) upright: Option<u32>,
}

impl Raster {
    pub(crate) fn new(width: u32, height: u32, pixels: Pixels) -> Self {
        Self { width, height, pixels, transparency: None, metadata: Metadata::default() }
    }

    /// Pillow's conversion to RGB, over white or with alpha dropped.
    pub(crate) fn into_rgb(self, alpha: Alpha) -> Result<RgbImage, DecodeError> {
        let composite = alpha == Alpha::White;
        let transparency = self.transparency.filter(|_| composite);
        let rgb = match (self.pixels, transparency) {
            (Pixels::Rgb(rgb), None) => rgb,
            (Pixels::Rgb(mut rgb), Some(transparency)) => {
                if let Transparency::Colour(key) = transparency {
                    whiten(&mut rgb, key);
                }
                rgb
            }
            (Pixels::Grey(grey), transparency) => grey_to_rgb(&grey, transparency),
            (Pixels::Grey16(grey), transparency) => {
                let grey: Vec<u8> = grey.into_iter().map(|value| value.min(255) as u8).collect();
                grey_to_rgb(&grey, transparency)
            }
            (Pixels::GreyAlpha(pairs), _) if composite => {
                converted(&pairs, |&[value, alpha]| [over_white(value, alpha); 3])
            }
            (Pixels::GreyAlpha(pairs), _) => converted(&pairs, |&[value, _]| [value; 3]),
            (Pixels::Rgba(rgba), _) if composite => converted(&rgba, |&[red, green, blue, alpha]| {
                [red, green, blue].map(|value| over_white(value, alpha))
            }),
            (Pixels::Rgba(rgba), _) => converted(&rgba, |&[red, green, blue, _]| [red, green, blue]),
            (Pixels::Cmyk(cmyk), _) => converted(&cmyk, cmyk_to_rgb),
            (Pixels::IndexedAlpha(pairs, palette), _) => converted(&pairs, |&[index, alpha]| {
                let colour = palette[usize::from(index)];
                if composite { colour.map(|value| over_white(value, alpha)) } else { colour }
            }),
            (Pixels::Indexed(indices, mut palette), transparency) => {
                apply_transparency(&mut palette, transparency);
                converted(&indices, |&[index]| palette[usize::from(index)])
            }
        };
        RgbImage::from_raw(self.width, self.height, rgb).ok_or_else(|| {
            DecodeError::invalid("image", "the decoder gave another number of pixels than it announced")
        })
    }
}

/// Each pixel of `N` samples as one of `M`.
pub(crate) fn converted<const N: usize, const M: usize>(
    samples: &[u8],
    pixel: impl Fn(&[u8; N]) -> [u8; M],
) -> Vec<u8> {
    let pixels = samples.as_chunks::<N>().0;
    let mut out = vec![0; pixels.len() * M];
    out.as_chunks_mut().0.iter_mut().zip(pixels).for_each(|(to, from)| *to = pixel(from));
    out
}

impl Pixels {
    /// The same colours under this alpha band: `convert("RGBA")`, then `putalpha`.
    pub(crate) fn with_alpha(self, alpha: impl IntoIterator<Item = u8>) -> Self {
        let rgb: Vec<u8> = match self {
            Self::Rgb(rgb) => rgb,
            Self::Grey(grey) => converted(&grey, |&[value]| [value; 3]),
            Self::Indexed(indices, palette) => converted(&indices, |&[index]| palette[usize::from(index)]),
            Self::Rgba(rgba) => converted(&rgba, |&[red, green, blue, _]| [red, green, blue]),
            other => return other,
        };
        let mut rgba = converted(&rgb, |&[red, green, blue]| [red, green, blue, 0]);
        rgba.iter_mut().skip(3).step_by(4).zip(alpha).for_each(|(to, alpha)| *to = alpha);
        Self::Rgba(rgba)
    }
}

/// `PIL.Image.alpha_composite` over opaque white, its fixed-point rounding included.
fn over_white(value: u8, alpha: u8) -> u8 {
    const BITS: u32 = 7;
    let source = u32::from(alpha) * (1 << BITS);
    let white = 255 * (1 << BITS) - source;
    let sum = u32::from(value) * source + 255 * white + (0x80 << BITS);
    ((((sum >> 8) + sum) >> 8) >> BITS) as u8
}

/// Makes the pixels of one colour white: they are transparent, all others are opaque.
fn whiten(rgb: &mut [u8], key: [u8; 3]) {
    for pixel in rgb.chunks_exact_mut(3).filter(|pixel| **pixel == key) {
        pixel.fill(255);
    }
}

fn grey_to_rgb(grey: &[u8], transparency: Option<Transparency>) -> Vec<u8> {
    match transparency {
        Some(Transparency::Colour([key, ..])) => {
            converted(grey, |&[value]| [if value == key { 255 } else { value }; 3])
        }
        _ => converted(grey, |&[value]| [value; 3]),
    }
}

fn cmyk_to_rgb(pixel: &[u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(pixel[3]);
    let channel = |ink: u8| {
        let product = u32::from(ink) * light + 128;
        (light - (((product >> 8) + product) >> 8)) as u8
    };
    [channel(pixel[0]), channel(pixel[1]), channel(pixel[2])]
}

fn apply_transparency(palette: &mut Palette, transparency: Option<Transparency>) {
    match transparency {
        None | Some(Transparency::Colour(_)) => {}
        Some(Transparency::Index(index)) => {
            if let Some(colour) = palette.get_mut(index) {
                *colour = [255; 3];
            }
        }
        Some(Transparency::Alphas(alphas)) => {
            for (colour, alpha) in palette.iter_mut().zip(alphas) {
                *colour = colour.map(|value| over_white(value, alpha));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(pixels: Pixels, transparency: Option<Transparency>, alpha: Alpha) -> Vec<u8> {
        let raster = Raster { transparency, ..Raster::new(1, 1, pixels) };
        raster.into_rgb(alpha).expect("one pixel").into_raw()
    }

    #[test]
    fn compositing_over_white_is_the_rounded_blend() {
        for value in 0..=255u8 {
            assert_eq!(over_white(value, 255), value);
            assert_eq!(over_white(value, 0), 255);
            for alpha in 1..255u8 {
                let exact =
                    (f64::from(value) * f64::from(alpha) + 255.0 * (255.0 - f64::from(alpha))) / 255.0;
                assert!((f64::from(over_white(value, alpha)) - exact).abs() <= 0.51, "{value} {alpha}");
            }
        }
    }

    #[test]
    fn alpha_is_composited_or_dropped() {
        assert_eq!(rgb(Pixels::Rgba(vec![10, 20, 30, 0]), None, Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(Pixels::Rgba(vec![10, 20, 30, 0]), None, Alpha::Drop), [10, 20, 30]);
        assert_eq!(rgb(Pixels::GreyAlpha(vec![10, 0]), None, Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(Pixels::GreyAlpha(vec![10, 0]), None, Alpha::Drop), [10, 10, 10]);
    }

    #[test]
    fn a_transparent_colour_is_white_or_itself() {
        let key = || Some(Transparency::Colour([10, 20, 30]));
        assert_eq!(rgb(Pixels::Rgb(vec![10, 20, 30]), key(), Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(Pixels::Rgb(vec![10, 20, 31]), key(), Alpha::White), [10, 20, 31]);
        assert_eq!(rgb(Pixels::Rgb(vec![10, 20, 30]), key(), Alpha::Drop), [10, 20, 30]);
        assert_eq!(rgb(Pixels::Grey(vec![10]), key(), Alpha::White), [255, 255, 255]);
    }

    #[test]
    fn palettes_take_transparency_by_index_or_alpha() {
        let indexed = |index| {
            let mut palette = Box::new([[0; 3]; 256]);
            palette[1] = [9, 8, 7];
            Pixels::Indexed(vec![index], palette)
        };
        assert_eq!(rgb(indexed(1), None, Alpha::White), [9, 8, 7]);
        assert_eq!(rgb(indexed(200), None, Alpha::White), [0, 0, 0]);
        assert_eq!(rgb(indexed(1), Some(Transparency::Index(1)), Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(indexed(1), Some(Transparency::Alphas(vec![0, 0])), Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(indexed(1), Some(Transparency::Alphas(vec![0, 0])), Alpha::Drop), [9, 8, 7]);
    }

    #[test]
    fn sixteen_bit_grey_saturates() {
        assert_eq!(rgb(Pixels::Grey16(vec![200]), None, Alpha::White), [200, 200, 200]);
        assert_eq!(rgb(Pixels::Grey16(vec![256]), None, Alpha::White), [255, 255, 255]);
    }

    #[test]
    fn cmyk_full_black_is_black_and_no_ink_white() {
        assert_eq!(rgb(Pixels::Cmyk(vec![0, 0, 0, 255]), None, Alpha::White), [0, 0, 0]);
        assert_eq!(rgb(Pixels::Cmyk(vec![0, 0, 0, 0]), None, Alpha::White), [255, 255, 255]);
        assert_eq!(rgb(Pixels::Cmyk(vec![255, 0, 0, 0]), None, Alpha::White), [0, 255, 255]);
    }
}
