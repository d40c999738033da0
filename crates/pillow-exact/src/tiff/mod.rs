//! TIFF: the first picture, as Pillow's plugin reads it by itself where nothing is compressed, and through libtiff where it is.
//!
//! What libtiff mends, and kinds whose pixels could not be promised to be the same, are refused by name.

mod directory;
mod fax;
mod fax_codes;
mod layout;
mod lzw;
mod packbits;
mod packed;
mod pieces;
mod plain;
mod predictor;
mod unpack;

use crate::error::DecodeError;
use crate::limits::Limits;
use crate::orientation;
use crate::raster::{Metadata, Raster};
use directory::Directory;
use layout::{Layout, Mode, tag};
use pieces::Pieces;
use unpack::Numbers;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'M', b'M', 0, 42 | 43, ..]
            | [b'I', b'I', 42 | 43, 0, ..]
            | [b'M', b'M', 42, 0, ..]
            | [b'I', b'I', 0, 42, ..]
    )
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let directory = Directory::read(bytes)?;
    let mut layout = Layout::read(&directory)?;
    limits.check(layout.width.into(), layout.height.into())?;
    let pieces = Pieces::read(&directory, &layout)?;
    if is_mapped(&layout, &pieces) && pieces.count() > 1 {
        // Pillow goes on behind the only piece that there is, as far as the file goes.
        return Err(DecodeError::unsupported(crate::format::TIFF, "one piece of several"));
    }
    let orientation = orientation(&directory)?;
    let (planes, numbers) = if layout.compression == 1 {
        let numbers = Numbers {
            is_little: directory.is_little,
            mode_is_little: directory.is_little,
            reversed: layout.reversed,
        };
        let stored = layout.bits;
        layout = plain::as_read(&layout);
        (plain::planes(bytes, &layout, stored, &pieces)?, numbers)
    } else {
        let numbers = Numbers { is_little: true, mode_is_little: directory.is_little, reversed: false };
        (packed::planes(bytes, &directory, &layout, &pieces)?, numbers)
    };
    let pixels = unpack::pixels(planes, &directory, &layout, numbers)?;
    let (mut width, mut height) = (layout.width, layout.height);
    if is_mapped(&layout, &pieces) && (5..=8).contains(&orientation) {
        // Pillow maps such a file into memory, with the edges that the picture has after it is turned.
        (width, height) = (height, width);
    }
    // Pillow turns a TIFF upright when it loads it, whatever else is asked for.
    let metadata = Metadata { upright: Some(orientation), ..Metadata::default() };
    Ok(Raster { metadata, ..Raster::new(width, height, pixels) })
}

/// Whether Pillow takes the pixels as they lie in the file (`ImageFile.load`): one piece, in a mode that is stored as it is kept.
fn is_mapped(layout: &Layout, pieces: &Pieces) -> bool {
    let as_kept = match layout.mode {
        Mode::Grey { inverted: false } | Mode::Indexed | Mode::Grey16 => {
            layout.samples == 1 && matches!(layout.bits, 8 | 16)
        }
        Mode::Rgba | Mode::Cmyk => layout.samples == 4 && layout.bits == 8 && !layout.planar,
        _ => false,
    };
    layout.compression == 1 && !layout.reversed && as_kept && pieces.offsets.len() == 1
}

/// The orientation that the tags state, or the XMP packet.
fn orientation(directory: &Directory) -> Result<u32, DecodeError> {
    let stated = directory.number(tag::ORIENTATION)?;
    Ok(match stated {
        Some(orientation) => u32::try_from(orientation).unwrap_or(1),
        None => directory.bytes(tag::XMP).and_then(orientation::in_xmp).unwrap_or(1),
    })
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Pixels;

    const SHORT: u16 = 3;

    fn decoded(more: &[(u16, u16, u32)]) -> [Result<Raster, DecodeError>; 2] {
        [true, false].map(|is_little| decode(&tiff(is_little, more), &Limits::new(1 << 20, None)))
    }

    /// Two grey pixels side by side, and more entries behind those that they need.
    fn tiff(is_little: bool, more: &[(u16, u16, u32)]) -> Vec<u8> {
        let needed =
            [(256, 2), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 2)];
        let entries: Vec<_> = needed.into_iter().map(|(tag, value)| (tag, SHORT, value)).collect();
        let two = |n: u16| if is_little { n.to_le_bytes() } else { n.to_be_bytes() };
        let four = |n: u32| if is_little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut bytes = if is_little { b"II".to_vec() } else { b"MM".to_vec() };
        bytes.extend(two(42));
        bytes.extend(four(10));
        bytes.extend([7, 9]); // the pixels
        bytes.extend(two((entries.len() + more.len()) as u16));
        for &(tag, kind, value) in entries.iter().chain(more) {
            bytes.extend(two(tag));
            bytes.extend(two(kind));
            bytes.extend(four(1));
            // A short stands in the first two bytes.
            bytes.extend(if is_little { four(value) } else { four(value << 16) });
        }
        bytes.extend(four(0));
        bytes
    }

    #[test]
    fn of_two_values_of_a_tag_the_first_counts() {
        for more in [&[][..], &[(256, SHORT, 2)], &[(256, SHORT, 1), (257, SHORT, 2), (262, SHORT, 0)]] {
            for raster in decoded(more) {
                let pixels = raster.ok().map(|raster| raster.pixels);
                assert!(matches!(pixels, Some(Pixels::Grey(grey)) if grey == [7, 9]));
            }
        }
    }

    #[test]
    fn a_value_behind_one_that_pillow_passes_over_is_refused() {
        const NO_TYPE: u16 = 99;
        for raster in decoded(&[(317, NO_TYPE, 1), (317, SHORT, 1)]) {
            let Err(error) = raster else { panic!("Pillow and libtiff go by different ones") };
            assert!(error.to_string().contains("two values of tag 317"), "{error}");
        }
    }

    #[test]
    fn a_predictor_of_plain_samples_does_not_count() {
        for raster in decoded(&[(317, SHORT, 2)]) {
            assert!(matches!(raster.map(|raster| raster.pixels), Ok(Pixels::Grey(grey)) if grey == [7, 9]));
        }
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        let message = |tags: &[(u16, u32)]| {
            let mut file = tiff(true, &[]);
            for &(tag, value) in tags {
                let at = file.windows(4).position(|field| field == [tag as u8, (tag >> 8) as u8, 3, 0]);
                let at = at.expect("a tag that is there");
                file[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
            }
            decode(&file, &Limits::new(1 << 20, None)).expect_err("not read").to_string()
        };
        assert_eq!(message(&[(259, 50_000)]), "TIFF with compression Zstandard is not supported");
        assert_eq!(message(&[(259, 6)]), "TIFF with compression old JPEG is not supported");
        assert!(message(&[(262, 8)]).contains("photometric interpretation 8"));
        assert_eq!(message(&[(273, 500)]), "TIFF is truncated");
    }
}
