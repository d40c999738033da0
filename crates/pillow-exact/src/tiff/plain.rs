//! Pieces without compression, which Pillow reads by itself: what is missing stays 0, and sizes of pieces do not count (`_setup`).

use super::layout::{Layout, Mode};
use super::pieces::{Pieces, Plane};
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;
use crate::reader::Reader;

/// The samples as they are read: separate planes by the letters of a mode, which tell one byte each, whatever the samples have.
pub(super) fn as_read(layout: &Layout) -> Layout {
    let bits = if layout.planar && layout.bits == 16 { 8 } else { layout.bits };
    Layout { bits, ..layout.clone() }
}

/// Reads planes of samples `as_read`; those of the file have `stored_bits`.
pub(super) fn planes(
    bytes: &[u8],
    layout: &Layout,
    stored_bits: usize,
    pieces: &Pieces,
) -> Result<Vec<Plane>, DecodeError> {
    let unsupported = |what: &str| Err(DecodeError::unsupported(FORMAT, what));
    if layout.planar
        && (layout.bits != 8 || matches!(layout.mode, Mode::Premultiplied | Mode::YCbCr | Mode::IndexedAlpha))
    {
        return unsupported("these separate planes");
    }
    let count = pieces.count();
    // More would be put over the first ones, and where one piece is the whole, the last counts.
    if pieces.offsets.len() > count * layout.planes() {
        return unsupported("more pieces than the picture has");
    }
    let (width, height) = (layout.width as usize, layout.height as usize);
    let mut planes: Vec<Plane> = (0..layout.planes()).map(|_| Plane::new(layout)).collect();
    for (index, &offset) in pieces.offsets.iter().enumerate().take(count * planes.len()) {
        let (plane, place) = (index / count, index % count);
        let (column, top) = (place % pieces.across * pieces.width, place / pieces.across * pieces.height);
        let (columns, rows) = (pieces.width.min(width - column), pieces.height.min(height - top));
        if !(column * layout.pixel_bits()).is_multiple_of(8) {
            return unsupported("tiles that begin inside of a byte");
        }
        let length = layout.row_bytes(columns);
        // A piece that ends beside the picture has whole rows all the same.
        let is_cut = columns < pieces.width;
        if is_cut && layout.planar && layout.mode == Mode::Rgba {
            return unsupported("tiles of these separate planes");
        }
        let stride =
            if is_cut { pieces.width * layout.pixel_bits() / layout.bits * stored_bits / 8 } else { length };
        if stride < length {
            return Err(DecodeError::invalid(FORMAT, "tiles of no whole bytes"));
        }
        let mut reader = Reader::new(bytes, FORMAT);
        reader.seek(usize::try_from(offset).unwrap_or(usize::MAX));
        let data = reader.take(stride.saturating_mul(rows - 1).saturating_add(length))?;
        planes[plane].put((column * layout.pixel_bits() / 8, top), data, stride, length);
    }
    Ok(planes)
}
