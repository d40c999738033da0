//! TIFF: the first picture, where its samples are whole bytes in one plane and its compression is lossless and common.
//!
//! Of the many other kinds of TIFF, Pillow opens some through libtiff; they are refused here by name, for their pixels could not be
//! promised to be the same.

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
