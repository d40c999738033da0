//! The orientation in a picture's metadata, found and applied as `PIL.ImageOps.exif_transpose` does.

use ::image::{RgbImage, imageops};

use crate::raster::Metadata;

/// EXIF's tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// The orientation, 1 (upright) when there is none that Pillow would find: the first directory of the EXIF block, else XMP.
pub(crate) fn find(metadata: &Metadata) -> u32 {
    metadata
        .upright
        .or_else(|| metadata.exif.as_deref().and_then(in_exif))
        .or_else(|| metadata.xmp.as_deref().and_then(in_xmp))
        .unwrap_or(1)
}

/// Turns and mirrors a picture so that one stored in this orientation stands upright.
pub(crate) fn apply(rgb: RgbImage, orientation: u32) -> RgbImage {
    match orientation {
        2 => imageops::flip_horizontal(&rgb),
        3 => imageops::rotate180(&rgb),
        4 => imageops::flip_vertical(&rgb),
        5 => imageops::flip_horizontal(&imageops::rotate90(&rgb)),
        6 => imageops::rotate90(&rgb),
        7 => imageops::flip_horizontal(&imageops::rotate270(&rgb)),
        8 => imageops::rotate270(&rgb),
        _ => rgb,
    }
}

/// Reads integers in the byte order of a TIFF structure.
struct Tiff<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Tiff<'_> {
    fn uint(&self, offset: usize, length: usize) -> Option<u32> {
        let bytes = self.bytes.get(offset..offset.checked_add(length)?)?;
        let fold = |value: u32, &byte: &u8| value << 8 | u32::from(byte);
        Some(if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }
}

fn in_exif(exif: &[u8]) -> Option<u32> {
    let mut bytes = exif;
    for _ in 0..2 {
        bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    }
    let big_endian = match bytes.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let tiff = Tiff { bytes, big_endian };
    let directory = tiff.uint(4, 4)? as usize;
    let count = tiff.uint(directory, 2)? as usize;
    for entry in (0..count).map(|index| directory + 2 + index * 12) {
        if tiff.uint(entry, 2)? != u32::from(ORIENTATION) {
            continue;
        }
        let length = match tiff.uint(entry + 2, 2)? {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        // More than one value would be a tuple, which stands for no orientation.
        return (tiff.uint(entry + 4, 4)? == 1).then(|| tiff.uint(entry + 8, length)).flatten();
    }
    None
}

/// The digit after the first `tiff:Orientation="` or `tiff:Orientation>`.
pub(crate) fn in_xmp(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        let rest = &xmp[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(big_endian: bool, kind: u16, count: u32, value: u32) -> Vec<u8> {
        let u16_bytes = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let u32_bytes = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut bytes = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        bytes.extend(u32_bytes(8));
        bytes.extend(u16_bytes(1));
        bytes.extend(u16_bytes(ORIENTATION));
        bytes.extend(u16_bytes(kind));
        bytes.extend(u32_bytes(count));
        if kind == 3 {
            bytes.extend(u16_bytes(value as u16));
            bytes.extend([0, 0]);
        } else {
            bytes.extend(u32_bytes(value));
        }
        bytes
    }

    #[test]
    fn both_byte_orders_are_read_with_and_without_a_heading() {
        for big_endian in [false, true] {
            assert_eq!(in_exif(&exif(big_endian, 3, 1, 6)), Some(6));
            assert_eq!(in_exif(&[b"Exif\0\0".as_slice(), &exif(big_endian, 4, 1, 8)].concat()), Some(8));
            assert_eq!(in_exif(&exif(big_endian, 3, 2, 6)), None);
        }
    }

    #[test]
    fn broken_exif_is_no_orientation() {
        let whole = exif(true, 3, 1, 6);
        for length in 0..whole.len() - 2 {
            assert_eq!(in_exif(&whole[..length]), None, "{length}");
        }
        assert_eq!(in_exif(b"II*\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn xmp_is_the_fallback() {
        assert_eq!(in_xmp(b"<x tiff:Orientation=\"3\"/>"), Some(3));
        assert_eq!(in_xmp(b"<tiff:Orientation>8</tiff:Orientation>"), Some(8));
        assert_eq!(in_xmp(b"<tiff:Orientation/>"), None);
        let xmp = Some(b"tiff:Orientation>8".to_vec());
        let metadata = Metadata { exif: Some(exif(true, 3, 1, 6)), xmp, upright: None };
        assert_eq!(find(&metadata), 6);
    }

    #[test]
    fn every_orientation_puts_the_top_left_where_it_belongs() {
        // 2 columns, 3 rows, numbered in reading order.
        let stored = RgbImage::from_fn(2, 3, |x, y| ::image::Rgb([(y * 2 + x) as u8; 3]));
        let first_row = |orientation| {
            let upright = apply(stored.clone(), orientation);
            (0..upright.width()).map(|x| upright.get_pixel(x, 0)[0]).collect::<Vec<_>>()
        };
        assert_eq!(first_row(1), [0, 1]);
        assert_eq!(first_row(2), [1, 0]);
        assert_eq!(first_row(3), [5, 4]);
        assert_eq!(first_row(4), [4, 5]);
        assert_eq!(first_row(5), [0, 2, 4]);
        assert_eq!(first_row(6), [4, 2, 0]);
        assert_eq!(first_row(7), [5, 3, 1]);
        assert_eq!(first_row(8), [1, 3, 5]);
        assert_eq!(first_row(9), [0, 1]);
    }
}
