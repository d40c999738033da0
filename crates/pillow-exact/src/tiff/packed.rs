//! Compressed pieces, as libtiff reads them for Pillow (`TiffDecode.c`): every one of them must be whole.

use super::directory::Directory;
use super::layout::{Layout, Mode, tag};
use super::pieces::{Pieces, Plane};
use super::{fax, lzw, packbits, predictor};
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;
use crate::jpeg;

/// How pieces are compressed.
enum Codec<'a> {
    Fax(fax::Kind),
    Lzw,
    Deflate,
    PackBits,
    /// Tables that all pieces share.
    Jpeg(Option<&'a [u8]>),
}

impl<'a> Codec<'a> {
    fn read(directory: &Directory<'a>, layout: &Layout) -> Result<Self, DecodeError> {
        let options = || Ok(directory.number(tag::FAX_OPTIONS)?.unwrap_or(0));
        Ok(match layout.compression {
            2 => Self::Fax(fax::Kind::Rows),
            3 => match options()? {
                options if options & 2 != 0 => {
                    return Err(DecodeError::unsupported(FORMAT, "uncompressed parts of a fax"));
                }
                options => Self::Fax(fax::Kind::Group3 { two_dimensional: options & 1 != 0 }),
            },
            4 => Self::Fax(fax::Kind::Group4),
            5 => Self::Lzw,
            7 => Self::Jpeg(directory.bytes(tag::JPEG_TABLES)),
            8 | 32_946 => Self::Deflate,
            32_773 => Self::PackBits,
            other => {
                let name = match other {
                    6 => "old JPEG".to_owned(),
                    34_925 => "LZMA".to_owned(),
                    50_000 => "Zstandard".to_owned(),
                    50_001 => "WebP".to_owned(),
                    other => format!("number {other}"),
                };
                return Err(DecodeError::unsupported(FORMAT, format!("compression {name}")));
            }
        })
    }
}

pub(super) fn planes(
    bytes: &[u8],
    directory: &Directory,
    layout: &Layout,
    pieces: &Pieces,
) -> Result<Vec<Plane>, DecodeError> {
    let unsupported = |what: &str| Err(DecodeError::unsupported(FORMAT, what));
    if !directory.is_whole(&tag::OF_PIXELS) {
        return unsupported("a broken directory, compressed");
    }
    let codec = Codec::read(directory, layout)?;
    if layout.planar
        && (!matches!(layout.bits, 8 | 16)
            || matches!(layout.mode, Mode::GreyAlpha | Mode::IndexedAlpha | Mode::YCbCr)
            || (layout.mode == Mode::Rgba && !directory.has(tag::EXTRA)))
    {
        return unsupported("these separate planes, compressed");
    }
    if layout.mode == Mode::YCbCr && !matches!(codec, Codec::Jpeg(_)) {
        return unsupported("YCbCr of this compression");
    }
    if matches!(codec, Codec::Jpeg(_)) && (layout.bits != 8 || layout.planar) {
        return unsupported("JPEG of these samples");
    }
    if matches!(codec, Codec::Fax(_)) && layout.pixel_bits() != 1 {
        return unsupported("a fax of more than 1 bit");
    }
    let predictor = match codec {
        Codec::Lzw | Codec::Deflate => predictor::Predictor::read(directory, layout)?,
        _ => predictor::Predictor::None,
    };
    let count = pieces.count();
    let all = count * if layout.planar { layout.samples } else { 1 };
    let Some(sizes) =
        pieces.sizes.as_deref().filter(|sizes| sizes.len() == all && pieces.offsets.len() == all)
    else {
        return unsupported("another number of pieces than the picture has");
    };

    let (width, height) = (layout.width as usize, layout.height as usize);
    let stride = layout.row_bytes(pieces.width);
    let mut planes: Vec<Plane> = (0..layout.planes()).map(|_| Plane::new(layout)).collect();
    let tile_size = stride.saturating_mul(pieces.height);
    if pieces.is_tiled && tile_size > (bytes.len() + planes[0].bytes.len()).saturating_mul(64).max(1 << 24) {
        return unsupported("tiles that are far larger than the picture");
    }
    let places = pieces.offsets.iter().zip(sizes).take(count * planes.len());
    for (index, (&offset, &size)) in places.enumerate() {
        let (plane, place) = (index / count, index % count);
        let (column, top) = (place % pieces.across * pieces.width, place / pieces.across * pieces.height);
        let (columns, rows) = (pieces.width.min(width - column), pieces.height.min(height - top));
        if !(column * layout.pixel_bits()).is_multiple_of(8) {
            return unsupported("tiles that begin inside of a byte");
        }
        let data = slice(bytes, offset, size)?;
        // Tiles are whole, the last strip is not.
        let rows = if pieces.is_tiled { pieces.height } else { rows };
        let mut piece = unpacked(&codec, data, layout, pieces.width, rows)?;
        predictor.undo(&mut piece, stride, layout, directory.is_little)?;
        if !directory.is_little {
            swap(&mut piece, layout.bits);
        }
        planes[plane].put((column * layout.pixel_bits() / 8, top), &piece, stride, layout.row_bytes(columns));
    }
    Ok(planes)
}

/// A piece's bytes; all must be there, and some (`TIFFFillStrip`).
fn slice(bytes: &[u8], offset: u64, size: u64) -> Result<&[u8], DecodeError> {
    let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
    let data = end.and_then(|end| bytes.get(offset as usize..end));
    data.filter(|data| !data.is_empty()).ok_or(DecodeError::Truncated { format: FORMAT })
}

/// Undoes the compression of so many rows.
fn unpacked(
    codec: &Codec,
    data: &[u8],
    layout: &Layout,
    width: usize,
    rows: usize,
) -> Result<Vec<u8>, DecodeError> {
    let size = layout.row_bytes(width) * rows;
    let reversed;
    let data = if layout.reversed && !matches!(codec, Codec::Jpeg(_)) {
        reversed = data.iter().map(|byte| byte.reverse_bits()).collect::<Vec<_>>();
        &reversed
    } else {
        data
    };
    match codec {
        Codec::Fax(kind) => fax::unpack(data, *kind, width, rows),
        Codec::Lzw => lzw::unpack(data, size),
        Codec::Deflate => inflate(data, size),
        Codec::PackBits => packbits::unpack(data, size),
        Codec::Jpeg(tables) => {
            let model = if layout.mode == Mode::YCbCr { jpeg::Model::YCbCr } else { jpeg::Model::AsStored };
            jpeg::decode_piece(*tables, data, (width, rows), layout.samples, model)
        }
    }
}

/// As much as is wanted; whether more follows does not matter, nor a checksum behind it (`ZIPDecode`).
fn inflate(data: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    let mut zlib = flate2::Decompress::new(true);
    let mut out = vec![0; size];
    loop {
        let before = (zlib.total_in(), zlib.total_out());
        let status = zlib
            .decompress(
                &data[before.0 as usize..],
                &mut out[before.1 as usize..],
                flate2::FlushDecompress::None,
            )
            .map_err(|error| DecodeError::invalid(FORMAT, error.to_string()))?;
        if zlib.total_out() as usize == size {
            return Ok(out);
        }
        if status == flate2::Status::StreamEnd || (zlib.total_in(), zlib.total_out()) == before {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
    }
}

/// libtiff hands out whole numbers in the machine's order, which is the little-endian one where Pillow runs.
fn swap(piece: &mut [u8], bits: usize) {
    if matches!(bits, 16 | 32) {
        piece.chunks_exact_mut(bits / 8).for_each(<[u8]>::reverse);
    }
}
