//! What a TIFF's tags say of its pixels, in Pillow's modes (`OPEN_INFO` and `_setup` of `TiffImagePlugin`).

use super::directory::Directory;
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

/// Numbers of tags.
pub(super) mod tag {
    pub(in crate::tiff) const WIDTH: u16 = 256;
    pub(in crate::tiff) const HEIGHT: u16 = 257;
    pub(in crate::tiff) const BITS: u16 = 258;
    pub(in crate::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::tiff) const ORIENTATION: u16 = 274;
    pub(in crate::tiff) const SAMPLES: u16 = 277;
    pub(in crate::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::tiff) const STRIP_SIZES: u16 = 279;
    pub(in crate::tiff) const PLANES: u16 = 284;
    pub(in crate::tiff) const FAX_OPTIONS: u16 = 292;
    pub(in crate::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::tiff) const COLOURS: u16 = 320;
    pub(in crate::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::tiff) const TILE_HEIGHT: u16 = 323;
    pub(in crate::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::tiff) const TILE_SIZES: u16 = 325;
    pub(in crate::tiff) const EXTRA: u16 = 338;
    pub(in crate::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::tiff) const XMP: u16 = 700;
    /// Those by which pixels are read.
    pub(in crate::tiff) const OF_PIXELS: [u16; 22] = [
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        STRIP_OFFSETS,
        ORIENTATION,
        SAMPLES,
        ROWS_PER_STRIP,
        STRIP_SIZES,
        PLANES,
        FAX_OPTIONS,
        PREDICTOR,
        COLOURS,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILE_OFFSETS,
        TILE_SIZES,
        EXTRA,
        SAMPLE_FORMAT,
        JPEG_TABLES,
    ];
}

/// What a pixel's samples are, by Pillow's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `1` and `L` of few bits. The least value may be white.
    Grey {
        inverted: bool,
    },
    /// `I;16`, of 12 bits too. Its least value is black, whatever the tags say.
    Grey16,
    /// `I`.
    Integer {
        signed: bool,
    },
    /// `F`.
    Float,
    /// `LA`.
    GreyAlpha,
    /// `P`.
    Indexed,
    /// `PA`.
    IndexedAlpha,
    Rgb,
    Rgba,
    /// `RGBA`, stored with the colours times alpha.
    Premultiplied,
    Cmyk,
    YCbCr,
}

impl Mode {
    /// Samples of a pixel that count; others may follow them.
    pub(super) fn bands(self) -> usize {
        match self {
            Self::GreyAlpha | Self::IndexedAlpha => 2,
            Self::Rgb | Self::YCbCr => 3,
            Self::Rgba | Self::Premultiplied | Self::Cmyk => 4,
            _ => 1,
        }
    }
}

/// What the tags say.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) mode: Mode,
    /// Bits of a sample.
    pub(super) bits: usize,
    /// Samples of a pixel in the file, in all planes together.
    pub(super) samples: usize,
    /// Each sample has a plane of its own.
    pub(super) planar: bool,
    pub(super) compression: u16,
    /// The lowest bit of a byte is the first.
    pub(super) reversed: bool,
}

impl Layout {
    pub(super) fn read(directory: &Directory) -> Result<Self, DecodeError> {
        let number = |tag, default| Ok(directory.number(tag)?.unwrap_or(default));
        let edge = |tag| {
            let value = directory.number(tag)?.ok_or_else(|| DecodeError::invalid(FORMAT, "no size"))?;
            u32::try_from(value).map_err(|_| DecodeError::invalid(FORMAT, format!("an edge of {value}")))
        };
        let (width, height) = (edge(tag::WIDTH)?, edge(tag::HEIGHT)?);
        let compression = number(tag::COMPRESSION, 1)?;
        let photometric = number(tag::PHOTOMETRIC, 0)?;
        let planar = match number(tag::PLANES, 1)? {
            1 => false,
            2 => true,
            other => return Err(DecodeError::invalid(FORMAT, format!("planar configuration {other}"))),
        };
        let reversed = match number(tag::FILL_ORDER, 1)? {
            1 => false,
            2 => true,
            other => return Err(DecodeError::invalid(FORMAT, format!("fill order {other}"))),
        };
        let depths = directory.numbers(tag::BITS)?.unwrap_or_else(|| vec![1]);
        let extra = directory.numbers(tag::EXTRA)?.unwrap_or_default();
        let samples = number(tag::SAMPLES, 1)? as usize;
        let format = match directory.numbers(tag::SAMPLE_FORMAT)?.as_deref() {
            None => 1,
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => *first,
            Some(other) => return Err(DecodeError::unsupported(FORMAT, format!("sample formats {other:?}"))),
        };
        let bits = depths[0];
        let describe = || {
            DecodeError::unsupported(
                FORMAT,
                format!(
                    "photometric interpretation {photometric}, {samples} samples of {depths:?} bits in format {format}, \
                     extra samples {extra:?}"
                ),
            )
        };
        // A depth for each sample, or one for all. Others are cut off by Pillow.
        let is_uniform = depths.iter().all(|&depth| depth == bits);
        if !is_uniform || !(1..=6).contains(&samples) || (depths.len() != 1 && depths.len() < samples) {
            return Err(describe());
        }
        let order = if directory.is_little { Order::Little } else { Order::Big };
        // Planes of samples that mean nothing are left out.
        let skipped = planar && !extra.is_empty() && extra.iter().all(|&kind| kind == 0);
        let (counted, meant) = if skipped {
            (samples.checked_sub(extra.len()).ok_or_else(describe)?, &[][..])
        } else {
            (samples, extra.as_slice())
        };
        let mode = mode(photometric, format, bits, counted, meant, order, reversed).ok_or_else(describe)?;
        Ok(Self {
            width,
            height,
            mode,
            bits: bits as usize,
            samples,
            planar: planar && samples > 1,
            compression: u16::try_from(compression)
                .map_err(|_| DecodeError::invalid(FORMAT, format!("compression {compression}")))?,
            reversed,
        })
    }

    /// Bits of a pixel in a plane.
    pub(super) fn pixel_bits(&self) -> usize {
        if self.planar { self.bits } else { self.bits * self.samples }
    }

    /// Bytes of so many pixels in a row of a plane.
    pub(super) fn row_bytes(&self, width: usize) -> usize {
        (width * self.pixel_bits()).div_ceil(8)
    }

    /// Planes that count.
    pub(super) fn planes(&self) -> usize {
        if self.planar { self.mode.bands() } else { 1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// `OPEN_INFO`, by photometric interpretation, sample format, bits, samples, extra samples, byte order and order of bits. None where Pillow
/// knows no mode.
fn mode(
    photometric: u64,
    format: u64,
    bits: u64,
    samples: usize,
    extra: &[u64],
    order: Order,
    reversed: bool,
) -> Option<Mode> {
    use Order::Little;
    let rest_is_nothing =
        |from: usize| extra.get(from..).is_some_and(|rest| rest.iter().all(|&kind| kind == 0));
    let few = samples == 1 && extra.is_empty();
    Some(match (photometric, format, bits) {
        (0 | 1, 1, 1 | 2 | 4 | 8) if few => Mode::Grey { inverted: photometric == 0 },
        (1, 2, 8) if few && !reversed => Mode::Grey { inverted: false },
        (1, 1, 12) if few && order == Little && !reversed => Mode::Grey16,
        (0, 1, 16) if few && order == Little && !reversed => Mode::Grey16,
        (1, 1, 16) if few && (order == Little || !reversed) => Mode::Grey16,
        (1, 2, 16 | 32) if few && !reversed => Mode::Integer { signed: true },
        (1, 1, 32) if few && order == Little && !reversed => Mode::Integer { signed: false },
        (0 | 1, 3, 32) if few && !reversed => Mode::Float,
        (1, 1, 8) if samples == 2 && extra == [0] && !reversed => Mode::Grey { inverted: false },
        (1, 1, 8) if samples == 2 && extra == [2] && !reversed => Mode::GreyAlpha,
        (2, 1, 8) if samples == 3 && extra.is_empty() => Mode::Rgb,
        (2, 1, 8) if samples == 4 && matches!(extra, [] | [999]) && !reversed => Mode::Rgba,
        (2, 1, 8) if samples == 3 + extra.len() && !reversed => match extra.first()? {
            0 if rest_is_nothing(0) => Mode::Rgb,
            1 if rest_is_nothing(1) => Mode::Premultiplied,
            2 if rest_is_nothing(1) => Mode::Rgba,
            _ => return None,
        },
        (2, 1, 16) if samples == 3 && extra.is_empty() && !reversed => Mode::Rgb,
        (2, 1, 16) if samples == 4 && !reversed => match extra {
            [] | [2] => Mode::Rgba,
            [0] => Mode::Rgb,
            [1] => Mode::Premultiplied,
            _ => return None,
        },
        (3, 1, 1 | 2 | 4 | 8) if few => Mode::Indexed,
        (3, 1, 8) if samples == 2 && extra == [0] && !reversed => Mode::Indexed,
        (3, 1, 8) if samples == 2 && extra == [2] && !reversed => Mode::IndexedAlpha,
        (5, 1, 8) if samples == 4 + extra.len() && rest_is_nothing(0) && !reversed => Mode::Cmyk,
        (5, 1, 16) if samples == 4 && extra.is_empty() && !reversed => Mode::Cmyk,
        (6, 1, 8) if few && !reversed => Mode::Grey { inverted: false },
        (6, 1, 8) if samples == 3 && extra.is_empty() && !reversed => Mode::YCbCr,
        _ => return None,
    })
}
