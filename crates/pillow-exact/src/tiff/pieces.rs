//! Strips and tiles: where each stands in the file and in the picture.

use super::directory::Directory;
use super::layout::{Layout, tag};
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

/// The division of a picture.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Columns and rows of a whole piece. Strips are as wide as the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) is_tiled: bool,
    pub(super) offsets: Vec<u64>,
    /// Bytes of each, where they are told.
    pub(super) sizes: Option<Vec<u64>>,
    /// Pieces across and down.
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Pieces {
    pub(super) fn read(directory: &Directory, layout: &Layout) -> Result<Self, DecodeError> {
        let (width, height) = (layout.width as usize, layout.height as usize);
        // Pillow looks for strips first, libtiff for a tile's size; either takes the offsets that there are.
        let has_strips = directory.has(tag::STRIP_OFFSETS);
        let is_tiled = match layout.compression {
            1 => !has_strips,
            _ => directory.has(tag::TILE_WIDTH) || directory.has(tag::TILE_HEIGHT),
        };
        if has_strips && directory.has(tag::TILE_OFFSETS) {
            return Err(DecodeError::unsupported(FORMAT, "strips and tiles"));
        }
        let one_of = |strips, tiles| Ok(directory.numbers(strips)?.or(directory.numbers(tiles)?));
        let offsets = one_of(tag::STRIP_OFFSETS, tag::TILE_OFFSETS)?;
        let offsets = offsets.ok_or_else(|| DecodeError::invalid(FORMAT, "neither strips nor tiles"))?;
        let sizes = one_of(tag::STRIP_SIZES, tag::TILE_SIZES)?;
        let edge = |tag| match directory.number(tag)? {
            Some(edge @ 1..) => Ok(usize::try_from(edge).unwrap_or(usize::MAX)),
            _ => Err(DecodeError::invalid(FORMAT, "tiles without a size")),
        };
        let (piece_width, piece_height) = if is_tiled {
            (edge(tag::TILE_WIDTH)?, edge(tag::TILE_HEIGHT)?)
        } else {
            match directory.number(tag::ROWS_PER_STRIP)? {
                Some(0) => return Err(DecodeError::invalid(FORMAT, "strips of no rows")),
                Some(rows) => (width, usize::try_from(rows).unwrap_or(usize::MAX).min(height)),
                None => (width, height),
            }
        };
        let (across, down) = (width.div_ceil(piece_width), height.div_ceil(piece_height));
        Ok(Self { width: piece_width, height: piece_height, is_tiled, offsets, sizes, across, down })
    }

    /// Pieces of a plane.
    pub(super) fn count(&self) -> usize {
        self.across * self.down
    }
}

/// Rows of a whole plane, into which pieces are put.
pub(super) struct Plane {
    pub(super) row: usize,
    pub(super) bytes: Vec<u8>,
}

impl Plane {
    pub(super) fn new(layout: &Layout) -> Self {
        let row = layout.row_bytes(layout.width as usize);
        Self { row, bytes: vec![0; row * layout.height as usize] }
    }

    /// Puts the rows of a piece, each `stride` bytes after the one before, at a column of bytes and a row.
    pub(super) fn put(&mut self, (left, top): (usize, usize), data: &[u8], stride: usize, length: usize) {
        for (row, from) in self.bytes[top * self.row..].chunks_exact_mut(self.row).zip(data.chunks(stride)) {
            if from.len() >= length {
                row[left..left + length].copy_from_slice(&from[..length]);
            }
        }
    }
}
