//! TIFF: the first picture, where its samples are whole bytes in one plane and its compression is lossless and common.
//!
//! Of the many other kinds of TIFF, Pillow opens some through libtiff; they are refused here by name, for their pixels could not be
//! promised to be the same.

use std::collections::HashMap;
use std::io::{Cursor, ErrorKind};

use ::tiff::ColorType;
use ::tiff::decoder::{Decoder, Limits as TiffLimits};
use ::tiff::tags::Tag;

use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;
use crate::limits::Limits;
use crate::orientation;
use crate::raster::{Metadata, Pixels, Raster};

pub(crate) fn matches(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'M', b'M', 0, 42 | 43, ..]
            | [b'I', b'I', 42 | 43, 0, ..]
            | [b'M', b'M', 42, 0, ..]
            | [b'I', b'I', 0, 42, ..]
    )
}

/// The tags that decide how samples become pixels.
#[derive(Debug)]
struct Tags {
    photometric: u16,
    bits: u16,
    samples: u16,
    extra: Vec<u16>,
}

type TiffDecoder<'a> = Decoder<Cursor<&'a [u8]>>;

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    if let Some(tag) = stated_twice(bytes) {
        return Err(DecodeError::unsupported(FORMAT, format!("two values of tag {tag}")));
    }
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?.with_limits(bounds(bytes, limits));
    let (width, height) = decoder.dimensions().map_err(failed)?;
    limits.check(width.into(), height.into())?;
    let tags = read_tags(&mut decoder)?;
    let expected = match (tags.photometric, tags.samples, tags.extra.as_slice()) {
        (0 | 1, 1, []) if tags.bits == 8 => ColorType::Gray(8),
        (1, 1, []) if tags.bits == 16 => ColorType::Gray(16),
        (2, 3, []) => ColorType::RGB(tags.bits as u8),
        (2, 4, [] | [2] | [999]) => ColorType::RGBA(tags.bits as u8),
        (5, 4, []) if tags.bits == 8 => ColorType::CMYK(8),
        _ => return Err(DecodeError::unsupported(FORMAT, describe(&tags))),
    };
    if decoder.colortype().map_err(failed)? != expected {
        return Err(DecodeError::unsupported(FORMAT, describe(&tags)));
    }

    let sample_bytes = usize::from(tags.bits / 8);
    let mut data = vec![0; width as usize * height as usize * usize::from(tags.samples) * sample_bytes];
    decoder.read_image_bytes(&mut data).map_err(failed)?;
    let native = |pair: &[u8]| u16::from_ne_bytes([pair[0], pair[1]]);
    if expected == ColorType::Gray(16) {
        let pixels = Pixels::Grey16(data.chunks_exact(2).map(native).collect());
        return Ok(Raster { metadata: metadata(&mut decoder), ..Raster::new(width, height, pixels) });
    }
    if sample_bytes == 2 {
        // The high bytes.
        data = data.chunks_exact(2).map(|pair| (native(pair) >> 8) as u8).collect();
    }
    let pixels = match expected {
        ColorType::Gray(_) => Pixels::Grey(data),
        ColorType::RGB(_) => Pixels::Rgb(data),
        ColorType::RGBA(_) => Pixels::Rgba(data),
        _ => Pixels::Cmyk(data),
    };
    Ok(Raster { metadata: metadata(&mut decoder), ..Raster::new(width, height, pixels) })
}

/// A tag of which the first directory has two entries that differ, if there is one: Pillow goes by the first of them
/// (`ImageFileDirectory_v2.load`), the decoder by the last. Texts do not matter.
fn stated_twice(bytes: &[u8]) -> Option<u64> {
    /// The type of texts.
    const ASCII: u64 = 2;
    let is_little = bytes.starts_with(b"II");
    let number = |field: &[u8]| {
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if is_little { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) }
    };
    let field = |at: u64, size: u64| {
        bytes.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(size)?).ok()?)
    };
    // The offset of the directory, the size of its count, and that of an entry.
    let (directory, count, entry) = match number(field(2, 2)?) {
        43 => (number(field(8, 8)?), 8, 20),
        _ => (number(field(4, 4)?), 2, 12),
    };
    let mut entries: HashMap<u64, &[u8]> = HashMap::new();
    for place in 0..number(field(directory, count)?) {
        let entry = field(directory.checked_add(count)?.checked_add(place.checked_mul(entry)?)?, entry)?;
        let tag = number(&entry[..2]);
        let first = *entries.entry(tag).or_insert(entry);
        if first != entry && [first, entry].iter().any(|entry| number(&entry[2..4]) != ASCII) {
            return Some(tag);
        }
    }
    None
}

/// The bounds of the decoder's own buffers; the number of pixels is checked before anything is read into ours.
fn bounds(bytes: &[u8], limits: &Limits) -> TiffLimits {
    /// Four samples of 16 bits.
    const LARGEST_PIXEL: u64 = 8;
    let pixels = usize::try_from(limits.max_pixels.saturating_mul(LARGEST_PIXEL)).unwrap_or(usize::MAX);
    let mut bounds = TiffLimits::unlimited();
    // No tag has more bytes than the file.
    bounds.ifd_value_size = bytes.len();
    bounds.decoding_buffer_size = pixels;
    bounds.intermediate_buffer_size = pixels;
    bounds
}

fn failed(error: ::tiff::TiffError) -> DecodeError {
    match error {
        ::tiff::TiffError::UnsupportedError(what) => DecodeError::unsupported(FORMAT, what.to_string()),
        ::tiff::TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { format: FORMAT }
        }
        other => DecodeError::invalid(FORMAT, other.to_string()),
    }
}

fn describe(tags: &Tags) -> String {
    let Tags { photometric, bits, samples, extra } = tags;
    format!(
        "photometric interpretation {photometric}, {samples} samples of {bits} bits, extra samples {extra:?}"
    )
}

fn number(decoder: &mut TiffDecoder, tag: Tag, default: u16) -> Result<u16, DecodeError> {
    Ok(decoder.find_tag_unsigned(tag).map_err(failed)?.unwrap_or(default))
}

fn numbers(decoder: &mut TiffDecoder, tag: Tag) -> Result<Vec<u16>, DecodeError> {
    Ok(decoder.find_tag_unsigned_vec(tag).map_err(failed)?.unwrap_or_default())
}

fn read_tags(decoder: &mut TiffDecoder) -> Result<Tags, DecodeError> {
    let compression = number(decoder, Tag::Compression, 1)?;
    if ![1, 5, 8, 32_773, 32_946].contains(&compression) {
        return Err(DecodeError::unsupported(FORMAT, format!("compression {compression}")));
    }
    // Pillow and libtiff heed a predictor with these alone, the decoder with all.
    let predictor = number(decoder, Tag::Predictor, 1)?;
    if predictor != 1 && ![5, 8, 32_946].contains(&compression) {
        return Err(DecodeError::unsupported(
            FORMAT,
            format!("predictor {predictor} of compression {compression}"),
        ));
    }
    if number(decoder, Tag::PlanarConfiguration, 1)? != 1 {
        return Err(DecodeError::unsupported(FORMAT, "separate planes"));
    }
    if number(decoder, Tag::FillOrder, 1)? != 1 {
        return Err(DecodeError::unsupported(FORMAT, "reversed bits"));
    }
    if numbers(decoder, Tag::SampleFormat)?.iter().any(|&format| format != 1) {
        return Err(DecodeError::unsupported(FORMAT, "samples other than unsigned integers"));
    }
    let depths = numbers(decoder, Tag::BitsPerSample)?;
    let bits = depths.first().copied().unwrap_or(1);
    if ![8, 16].contains(&bits) || depths.iter().any(|&other| other != bits) {
        return Err(DecodeError::unsupported(FORMAT, format!("{depths:?} bits per sample")));
    }
    Ok(Tags {
        photometric: number(decoder, Tag::PhotometricInterpretation, 0)?,
        bits,
        samples: number(decoder, Tag::SamplesPerPixel, 1)?,
        extra: numbers(decoder, Tag::ExtraSamples)?,
    })
}

/// Pillow turns a TIFF upright when it loads it, whatever else is asked for.
fn metadata(decoder: &mut TiffDecoder) -> Metadata {
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    let xmp = decoder.find_tag(Tag::Unknown(700)).ok().flatten().and_then(|value| value.into_u8_vec().ok());
    Metadata {
        upright: Some(
            orientation.map_or_else(|| xmp.as_deref().and_then(orientation::in_xmp).unwrap_or(1), u32::from),
        ),
        ..Metadata::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const SHORT: u16 = 3;

    fn decoded(more: &[(u16, u16, u32)]) -> [Result<Raster, DecodeError>; 2] {
        [true, false].map(|is_little| decode(&tiff(is_little, more), &Limits { max_pixels: 1 << 20 }))
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
    fn a_tag_with_two_values_is_refused() {
        for raster in decoded(&[]).into_iter().chain(decoded(&[(256, SHORT, 2)])) {
            let pixels = raster.ok().map(|raster| raster.pixels);
            assert!(matches!(pixels, Some(Pixels::Grey(grey)) if grey == [7, 9]), "once, or twice the same");
        }
        for (tag, value) in [(256, 1), (257, 2), (274, 3)] {
            let both = [(274, SHORT, 1), (tag, SHORT, value)];
            for raster in decoded(&both) {
                let Err(error) = raster else { panic!("tag {tag} has one value") };
                let message = error.to_string();
                assert!(message.contains(&format!("two values of tag {tag}")), "{message}");
            }
        }
        const ASCII: u16 = 2;
        assert!(decoded(&[(305, ASCII, 65), (305, ASCII, 66)]).iter().all(Result::is_ok));
    }

    #[test]
    fn a_predictor_of_plain_samples_is_refused() {
        assert!(decoded(&[(317, SHORT, 1)]).iter().all(Result::is_ok));
        for raster in decoded(&[(317, SHORT, 2)]) {
            assert!(raster.is_err_and(|error| error.to_string().contains("predictor 2 of compression 1")));
        }
    }
}
