//! AVIF, as libavif reads it for Pillow: the container here, AV1 by rav1d, the colours by the arithmetic of libyuv and of libavif.
//!
//! What a file may hold beside its picture (gain maps, thumbnails, layers, sample transforms) is passed over as Pillow does, or
//! refused by name.

mod av1;
mod boxes;
mod floats;
mod gain_map;
mod integers;
mod items;
mod planes;
mod properties;
mod sequence;
mod source;

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::limits::Limits;
use crate::orientation;
use crate::raster::{Metadata, Pixels, Raster};
use boxes::{broken, unsupported};
use floats::Conversion;
use planes::{Layout, Picture, Plane};
use properties::Colours;
use source::{Coded, Source};

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
        && matches!(bytes.get(8..12), Some(b"avif" | b"avis" | b"mif1" | b"msf1"))
}

/// Whether a file is surely an AVIF: other brands begin files of other kinds too.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    matches(start) && {
        let size = start.first_chunk().map_or(0, |size| u32::from_be_bytes(*size)) as usize;
        let brands = start.get(8..size.min(start.len())).unwrap_or_default();
        brands.chunks_exact(4).any(|brand| matches!(brand, b"avif" | b"avis"))
    }
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let source = Source::read(bytes)?;
    let (width, height) = source.size;
    limits.check(width.into(), height.into())?;
    let (picture, stated) = assembled(&source.colour, limits)?;
    let size = (width as usize, height as usize);
    if (picture.width, picture.height) != size {
        return Err(unsupported("a picture of another size than is stated"));
    }
    let colours = source.colours.unwrap_or(stated);
    let alpha = match &source.alpha {
        None => None,
        Some(coded) => {
            let (alpha, stated) = assembled(coded, limits)?;
            if (alpha.width, alpha.height, alpha.depth) != (size.0, size.1, picture.depth) {
                return Err(unsupported("alpha of another size or depth"));
            }
            let plane = alpha.planes.into_iter().next().ok_or_else(|| broken("no alpha"))?;
            Some(if stated.is_full_range { plane } else { full_range(&plane, picture.depth) })
        }
    };
    let pixels = pixels(&picture, colours, alpha, source.is_multiplied)?;
    let metadata = metadata(source);
    Ok(Raster { metadata, ..Raster::new(width, height, pixels) })
}

/// Decodes what a picture is made of, and puts it together.
fn assembled(coded: &Coded, limits: &Limits) -> Result<(Picture, Colours), DecodeError> {
    let limit = u32::try_from(limits.max_pixels()).unwrap_or(u32::MAX).max(1);
    let mut canvas: Option<(Picture, Colours)> = None;
    let mut size = (0, 0);
    for (index, data) in coded.tiles.iter().enumerate() {
        let (tile, stated) =
            av1::decode(data, limit).ok_or_else(|| broken("a bitstream that cannot be decoded"))?;
        // Pillow settles its mode by what is stated. Of alpha the first plane alone counts.
        let is_as_stated = coded.is_alpha || (tile.layout == Layout::Grey) == coded.config.is_monochrome();
        if !is_as_stated || (tile.width, tile.height) != coded.tile_size {
            return Err(unsupported("a bitstream of another size or kind than is stated"));
        }
        let Some((columns, _, width, height)) = coded.grid else { return Ok((tile, stated)) };
        let (canvas, first) = canvas.get_or_insert_with(|| {
            size = (tile.width, tile.height);
            (tile.canvas(width, height), stated)
        });
        if (tile.depth, tile.layout, stated) != (canvas.depth, canvas.layout, *first) {
            return Err(broken("tiles of different kinds"));
        }
        canvas.put(index % columns * size.0, index / columns * size.1, &tile);
    }
    canvas.ok_or_else(|| broken("no tiles"))
}

/// `avifImageLimitedToFullAlpha`.
fn full_range(plane: &Plane, depth: u8) -> Plane {
    let shift = depth - 8;
    let (least, span, most) = (16 << shift, 219 << shift, (1 << depth) - 1);
    let spread = |sample: &u16| ((i32::from(*sample) - least) * most + span / 2) / span;
    Plane {
        samples: plane.samples.iter().map(|sample| spread(sample).clamp(0, most) as u16).collect(),
        ..*plane
    }
}

/// Pillow's modes: `L` without colours, `RGBA` with alpha, else `RGB` (`avifImageYUVToRGB`).
fn pixels(
    picture: &Picture,
    colours: Colours,
    alpha: Option<Plane>,
    is_multiplied: bool,
) -> Result<Pixels, DecodeError> {
    let conversion = Conversion::new(colours, picture.depth, picture.layout);
    let matrix = integers::matrix(colours, picture.layout);
    let refused = || unsupported(&format!("matrix {} of {:?} range", colours.matrix, colours.is_full_range));
    let Some(alpha) = alpha else {
        return Ok(match (picture.layout, matrix) {
            (Layout::Grey, _) => Pixels::Grey(conversion.ok_or_else(refused)?.grey(&picture.planes[0])),
            (_, Some(matrix)) => Pixels::Rgb(matrix.colours(&eight_bits(picture))),
            (_, None) => Pixels::Rgb(conversion.ok_or_else(refused)?.colours(picture, None)),
        });
    };
    let Some(matrix) = matrix else {
        let conversion = conversion.ok_or_else(refused)?;
        let later = conversion.divides_later(picture, colours);
        let parts = (is_multiplied && !later).then(|| floats::parts(&alpha, picture.depth));
        let mut rgb = conversion.colours(picture, parts.as_deref());
        let alpha = floats::alpha(&alpha, picture.depth);
        if is_multiplied && later {
            integers::divided(&mut rgb, &alpha);
        }
        return Ok(Pixels::Rgb(rgb).with_alpha(alpha));
    };
    // Some ways take alpha along, by its high bits; beside the others it is rounded.
    let is_nearest = picture.depth == 12 && picture.layout == Layout::Both;
    let mut rgb = match (picture.layout, picture.depth) {
        (Layout::Grey, _) => matrix.grey(&eight_bits(picture).planes[0]),
        (_, 10) => matrix.colours(picture),
        _ if is_nearest => matrix.colours(picture),
        _ => matrix.colours(&eight_bits(picture)),
    };
    let alpha = if picture.layout == Layout::Grey || is_nearest {
        floats::alpha(&alpha, picture.depth)
    } else {
        alpha.shifted(picture.depth - 8).samples.into_iter().map(|sample| sample.min(255) as u8).collect()
    };
    if is_multiplied {
        integers::divided(&mut rgb, &alpha);
    }
    Ok(Pixels::Rgb(rgb).with_alpha(alpha))
}

/// The high eight bits (`avifImageDownshiftTo8bpc`).
fn eight_bits(picture: &Picture) -> Cow<'_, Picture> {
    if picture.depth == 8 {
        return Cow::Borrowed(picture);
    }
    let planes = picture.planes.iter().map(|plane| plane.shifted(picture.depth - 8)).collect();
    Cow::Owned(Picture { depth: 8, planes, ..*picture })
}

/// An orientation as Pillow hands it on: that of the container takes the place of one in EXIF, if only to say that there is none.
fn metadata(source: Source) -> Metadata {
    let orientation = match source.turn {
        (Some(1), None) => 8,
        (Some(1), Some(0)) => 5,
        (Some(1), Some(_)) => 7,
        (Some(2), None) => 3,
        (Some(2), Some(0)) => 2,
        (Some(2), Some(_)) => 4,
        (Some(3), None) => 6,
        (Some(3), Some(0)) => 7,
        (Some(3), Some(_)) => 5,
        (_, Some(0)) => 4,
        (_, Some(_)) => 2,
        (_, None) => 1,
    };
    let is_in_exif = source.exif.as_deref().and_then(orientation::in_exif).is_some();
    let exif = (orientation != 1 || is_in_exif).then(|| orientation::exif_of(orientation));
    Metadata { exif, xmp: source.xmp, ..Metadata::default() }
}
