//! The orientation in a picture's metadata, found and applied as `PIL.ImageOps.exif_transpose` does.

use std::collections::HashSet;

use ::image::{RgbImage, imageops};

use crate::raster::Metadata;

/// EXIF's tag of the orientation.
const ORIENTATION: u64 = 0x0112;

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

impl<'a> Tiff<'a> {
    fn slice(&self, offset: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    fn uint(&self, offset: usize, length: usize) -> Option<u64> {
        self.slice(offset, length).map(|bytes| self.number(bytes))
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let fold = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }

    /// The first of a field's values; none where they are text or bytes, which Python takes for no number.
    fn value(&self, kind: u64, bytes: &[u8]) -> Option<f64> {
        let number = self.number(&bytes[..size(kind)?]);
        Some(match kind {
            3 | 4 | 13 | 16 => number as f64,
            6 => f64::from(number as i8),
            8 => f64::from(number as i16),
            9 => f64::from(number as i32),
            5 => self.number(&bytes[..4]) as f64 / self.number(&bytes[4..8]) as f64,
            10 => f64::from(self.number(&bytes[..4]) as i32) / f64::from(self.number(&bytes[4..8]) as i32),
            11 => f64::from(f32::from_bits(number as u32)),
            12 => f64::from_bits(number),
            _ => return None,
        })
    }
}

/// Bytes of a value of each type that Pillow reads (`_load_dispatch` of its TiffImagePlugin).
fn size(kind: u64) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}

/// What `ImageFileDirectory_v2.load` finds: the first entry that has a value, whatever it says. None where there is none, since XMP
/// is asked then.
pub(crate) fn in_exif(exif: &[u8]) -> Option<u32> {
    let mut bytes = exif;
    for _ in 0..2 {
        bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    }
    let big_endian = match bytes.get(..4)? {
        b"II*\0" | b"II\0*" => false,
        b"MM\0*" | b"MM*\0" => true,
        _ => return None,
    };
    let tiff = Tiff { bytes, big_endian };
    let directory = tiff.uint(4, 4)? as usize;
    let count = tiff.uint(directory, 2)? as usize;
    let mut outside = 0;
    let mut found = HashSet::new();
    // Reading ends at an entry, or at values outside of one, that are cut off.
    for entry in (0..count).map(|index| directory + 2 + index * 12) {
        let field = tiff.slice(entry, 12)?;
        let (tag, kind) = (tiff.number(&field[..2]), tiff.number(&field[2..4]));
        if found.contains(&tag) {
            continue;
        }
        let Some(size) = size(kind) else { continue };
        let length = tiff.number(&field[4..8]) * size as u64;
        let values = if length <= 4 {
            &field[8..8 + length as usize]
        } else {
            outside += length;
            if outside > bytes.len() as u64 {
                continue;
            }
            tiff.slice(tiff.number(&field[8..]) as usize, length as usize)?
        };
        if values.is_empty() {
            continue;
        }
        found.insert(tag);
        if tag == ORIENTATION {
            // The first of several counts, and a number of any type that equals an orientation.
            let value = tiff.value(kind, values);
            return Some((2..=8).find(|&orientation| value == Some(orientation.into())).unwrap_or(1));
        }
    }
    None
}

/// An EXIF block that says nothing but an orientation.
pub(crate) fn exif_of(orientation: u8) -> Vec<u8> {
    let entry = [ORIENTATION as u8, (ORIENTATION >> 8) as u8, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
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

    /// A number in a byte order.
    fn number(big_endian: bool, length: usize, value: i64) -> Vec<u8> {
        if big_endian {
            value.to_be_bytes()[8 - length..].to_vec()
        } else {
            value.to_le_bytes()[..length].to_vec()
        }
    }

    /// A block whose directory has these entries: tag, type, count, and values, which stand behind the directory where they do not fit.
    fn exif(big_endian: bool, entries: &[(u16, i64, i64, Vec<u8>)]) -> Vec<u8> {
        let number = |length, value| number(big_endian, length, value);
        let mut bytes = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        bytes.extend([number(4, 8), number(2, entries.len() as i64)].concat());
        let mut behind = Vec::new();
        for (tag, kind, count, values) in entries {
            bytes.extend([number(2, (*tag).into()), number(2, *kind), number(4, *count)].concat());
            if values.len() <= 4 {
                bytes.extend(values);
                bytes.resize(bytes.len() + 4 - values.len(), 0);
            } else {
                bytes.extend(number(4, (10 + 12 * entries.len() + behind.len()) as i64));
                behind.extend(values);
            }
        }
        [bytes, behind].concat()
    }

    /// The block of an orientation that is a SHORT.
    fn short(big_endian: bool, value: i64) -> Vec<u8> {
        exif(big_endian, &[(0x0112, 3, 1, number(big_endian, 2, value))])
    }

    #[test]
    fn both_byte_orders_are_read_with_and_without_a_heading() {
        for big_endian in [false, true] {
            let plain = short(big_endian, 6);
            assert_eq!(in_exif(&plain), Some(6));
            assert_eq!(in_exif(&[b"Exif\0\0".as_slice(), &plain].concat()), Some(6));
            let swapped = [&plain[..2], &[plain[3], plain[2]], &plain[4..]].concat();
            assert_eq!(in_exif(&swapped), Some(6), "Pillow takes this heading too");
        }
    }

    /// What Pillow 13.0.0's `exif_transpose` does with an entry of each type.
    #[test]
    fn a_number_of_any_type_counts_by_its_value() {
        for big_endian in [false, true] {
            let numbers = |length, values: &[i64]| -> Vec<u8> {
                values.iter().flat_map(|&value| number(big_endian, length, value)).collect()
            };
            let (float, double) =
                (|value: f32| i64::from(value.to_bits()), |value: f64| value.to_bits() as i64);
            for (kind, count, values, expected) in [
                (1, 1, vec![6], Some(1)), // bytes are no number
                (2, 2, b"6\0".to_vec(), Some(1)),
                (7, 1, vec![6], Some(1)),
                (3, 1, numbers(2, &[6]), Some(6)),
                (3, 2, numbers(2, &[6, 3]), Some(6)),
                (3, 3, numbers(2, &[6, 3, 1]), Some(6)),
                (3, 1, numbers(2, &[9]), Some(1)),
                (3, 1, numbers(2, &[0x106]), Some(1)),
                (3, 0, numbers(2, &[6]), None),
                (4, 1, numbers(4, &[6]), Some(6)),
                (4, 2, numbers(4, &[6, 3]), Some(6)),
                (4, 1, numbers(4, &[0x1_0006]), Some(1)),
                (5, 1, numbers(4, &[12, 2]), Some(6)),
                (5, 1, numbers(4, &[13, 2]), Some(1)),
                (5, 1, numbers(4, &[6, 0]), Some(1)),
                (6, 1, numbers(1, &[6]), Some(6)),
                (6, 1, numbers(1, &[-6]), Some(1)),
                (8, 1, numbers(2, &[6]), Some(6)),
                (8, 1, numbers(2, &[-6]), Some(1)),
                (9, 1, numbers(4, &[6]), Some(6)),
                (9, 1, numbers(4, &[-6]), Some(1)),
                (10, 1, numbers(4, &[-6, -1]), Some(6)),
                (10, 1, numbers(4, &[-6, 1]), Some(1)),
                (11, 1, numbers(4, &[float(6.0)]), Some(6)),
                (11, 1, numbers(4, &[float(6.5)]), Some(1)),
                (12, 1, numbers(8, &[double(6.0)]), Some(6)),
                (12, 1, numbers(8, &[double(6.25)]), Some(1)),
                (13, 1, numbers(4, &[6]), Some(6)),
                (16, 1, numbers(8, &[6]), Some(6)),
                (17, 1, numbers(8, &[6]), None), // a type that Pillow does not know
                (0, 1, numbers(2, &[6]), None),
            ] {
                let block = exif(big_endian, &[(0x0112, kind, count, values)]);
                assert_eq!(in_exif(&block), expected, "type {kind}, {count} of them, {block:?}");
            }
        }
    }

    #[test]
    fn an_entry_without_a_value_is_passed_over() {
        let orientation = (0x0112, 3, 1, vec![6, 0]);
        let after = |first| in_exif(&exif(false, &[first, orientation.clone()]));
        assert_eq!(after((0x0112, 99, 1, vec![3])), Some(6));
        assert_eq!(after((0x0112, 3, 0, vec![3])), Some(6));
        assert_eq!(after((0x0112, 3, 40_000, vec![8])), Some(6), "more than the block has");
        assert_eq!(after((0x0112, 1, 1, vec![3])), Some(1), "this one has one");
        assert_eq!(after((0x010f, 3, 4, vec![60])), None, "reading ends where values are cut off");
        let again = [(0x010f, 2, 2, vec![65, 0]), (0x010f, 3, 4, vec![60]), orientation.clone()];
        assert_eq!(in_exif(&exif(false, &again)), Some(6), "not at those of a tag that has one");
    }

    #[test]
    fn broken_exif_is_no_orientation() {
        let whole = short(true, 6);
        for length in 0..whole.len() {
            assert_eq!(in_exif(&whole[..length]), None, "{length}");
        }
        assert_eq!(in_exif(b"II*\0\xff\xff\xff\xff"), None);
        let outside = exif(true, &[(0x0112, 5, 1, vec![0, 0, 0, 6, 0, 0, 0, 1])]);
        assert_eq!(in_exif(&outside), Some(6));
        assert_eq!(in_exif(&outside[..outside.len() - 1]), None);
    }

    #[test]
    fn xmp_is_the_fallback() {
        assert_eq!(in_xmp(b"<x tiff:Orientation=\"3\"/>"), Some(3));
        assert_eq!(in_xmp(b"<tiff:Orientation>8</tiff:Orientation>"), Some(8));
        assert_eq!(in_xmp(b"<tiff:Orientation/>"), None);
        let xmp = Some(b"tiff:Orientation>8".to_vec());
        let orientation = |exif| find(&Metadata { exif: Some(exif), xmp: xmp.clone(), upright: None });
        assert_eq!(orientation(short(true, 6)), 6);
        assert_eq!(orientation(exif(true, &[(0x0112, 1, 1, vec![6])])), 1, "bytes are an answer");
        assert_eq!(orientation(exif(true, &[(0x0112, 3, 0, vec![])])), 8);
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
