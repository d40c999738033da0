//! What of a file makes its picture: bitstreams of colours and of alpha, and what is stated of them (`avifDecoderParse`).

use super::boxes::{MediaBox, broken, unsupported};
use super::gain_map;
use super::items::{Item, Items};
use super::properties::{Colours, Config, Properties, Property};
use super::sequence::Track;
use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

/// libavif's limits.
const LARGEST_EDGE: u32 = 32_768;
const MOST_PIXELS: u64 = 16_384 * 16_384;
/// The least edge of a tile.
const LEAST_TILE: usize = 64;

/// A picture's bitstreams.
pub(super) struct Coded {
    pub(super) tiles: Vec<Vec<u8>>,
    pub(super) tile_size: (usize, usize),
    /// Columns and rows of tiles, width and height of the whole.
    pub(super) grid: Option<(usize, usize, usize, usize)>,
    pub(super) config: Config,
    pub(super) is_alpha: bool,
}

pub(super) struct Source {
    pub(super) size: (u32, u32),
    pub(super) colour: Coded,
    pub(super) alpha: Option<Coded>,
    /// The colours were multiplied by alpha.
    pub(super) is_multiplied: bool,
    /// As the container states them.
    pub(super) colours: Option<Colours>,
    pub(super) turn: (Option<u8>, Option<u8>),
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<Vec<u8>>,
}

impl Source {
    pub(super) fn read(file: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(file, FORMAT);
        let (mut brands, mut items, mut tracks): (Vec<[u8; 4]>, _, _) = (Vec::new(), None, None);
        let has = |brands: &[[u8; 4]], brand: &[u8; 4]| brands.contains(brand);
        while !reader.rest().is_empty() {
            let part = MediaBox::read(&mut reader, true)?;
            let is_large = matches!(&part.kind, b"meta" | b"moov" | b"free" | b"skip" | b"mdat");
            match &part.kind {
                b"ftyp" if brands.is_empty() => {
                    brands = self::brands(part.body)?;
                    if !has(&brands, b"avif") && !has(&brands, b"avis") {
                        return Err(broken("no brand of AVIF"));
                    }
                }
                b"ftyp" => return Err(broken("two file types")),
                _ if is_large && brands.is_empty() => return Err(broken("no file type at the beginning")),
                b"meta" if items.is_none() => items = Some(Items::read(&part)?),
                b"moov" if tracks.is_none() => tracks = Some(Track::read_all(&part)?),
                b"meta" | b"moov" => return Err(broken("two boxes of a kind")),
                _ => {}
            }
            // libavif reads no further than it must.
            let needs_items = has(&brands, b"avif") || has(&brands, b"tmap");
            let has_map = |items: &Items| items.all.iter().any(|item| &item.kind == b"tmap");
            let is_enough = !brands.is_empty()
                && (!needs_items || items.is_some())
                && (!has(&brands, b"avis") || tracks.is_some())
                && (!has(&brands, b"tmap") || items.as_ref().is_some_and(has_map));
            if is_enough {
                let tracks = tracks.unwrap_or_default();
                let items = items.unwrap_or_default();
                check_sizes(&items)?;
                if has(&brands, b"tmap") {
                    for item in items.all.iter().filter(|item| &item.kind == b"tmap" && item.is_metadata()) {
                        gain_map::check(&items.bytes(file, item)?)?;
                        check_gain_map(file, &items, item)?;
                    }
                }
                // The first brand is the major one.
                return match &brands[0] {
                    b"avis" => Self::of_tracks(file, &tracks),
                    b"avif" => Self::of_items(file, &items),
                    _ if !tracks.is_empty() => Self::of_tracks(file, &tracks),
                    _ => Self::of_items(file, &items),
                };
            }
        }
        Err(DecodeError::Truncated { format: FORMAT })
    }

    fn of_items(file: &[u8], items: &Items) -> Result<Self, DecodeError> {
        let colour = items.get(items.primary).filter(|item| !item.is_skipped());
        let colour = colour.ok_or_else(|| broken("no primary picture"))?;
        let size = colour.dimensions().ok_or_else(|| broken("a picture without a size"))?;
        let mut source = Self {
            size,
            colour: Coded::of_item(file, items, colour, false)?,
            alpha: None,
            is_multiplied: false,
            colours: colour.properties.colours()?,
            turn: colour.properties.turn(),
            exif: None,
            xmp: None,
        };
        let is_alpha_of = |item: &&Item, id: u32| item.auxiliary_of == id && item.properties.is_alpha();
        let whole = items.all.iter().find(|item| !item.is_skipped() && is_alpha_of(item, colour.id));
        if let Some(alpha) = whole {
            if !alpha.properties.fits(&colour.properties) {
                return Err(unsupported("alpha that is turned or cropped by itself"));
            }
            source.is_multiplied = colour.multiplied_by == alpha.id;
            source.alpha = Some(Coded::of_item(file, items, alpha, true)?);
        } else if let Some(grid) = source.colour.grid {
            // Each tile may have its own.
            let tiles = Coded::parts(items, colour)?;
            let own: Vec<Vec<&Item>> = tiles
                .iter()
                .map(|tile| items.all.iter().filter(|item| is_alpha_of(item, tile.id)).collect())
                .collect();
            if own.iter().all(|own| own.len() == 1 && own[0].part_of.is_none()) {
                let own: Vec<&Item> = own.into_iter().flatten().collect();
                source.alpha = Some(Coded::of_tiles(file, items, &own, Some(grid), true)?);
            } else if own.iter().any(|own| !own.is_empty()) {
                return Err(unsupported("alpha of some tiles"));
            }
        }
        source.find_metadata(file, items, colour.id)?;
        Ok(source)
    }

    fn of_tracks(file: &[u8], tracks: &[Track]) -> Result<Self, DecodeError> {
        let colour = tracks.iter().find(|track| track.has_pictures() && track.auxiliary_of == 0);
        let colour = colour.ok_or_else(|| broken("no track of pictures"))?;
        let is_alpha = |track: &&Track| {
            let states = track.properties.find(|property| match property {
                Property::Auxiliary(_) => Some(()),
                _ => None,
            });
            track.has_pictures()
                && track.auxiliary_of == colour.id
                && (states.is_none() || track.properties.is_alpha())
        };
        let alpha = tracks.iter().find(is_alpha);
        if alpha.is_some_and(|alpha| !alpha.properties.fits(&colour.properties)) {
            return Err(unsupported("alpha that is turned or cropped by itself"));
        }
        let mut source = Self {
            size: colour.size,
            colour: Coded::of_track(file, colour, false)?,
            alpha: alpha.map(|alpha| Coded::of_track(file, alpha, true)).transpose()?,
            is_multiplied: alpha.is_some_and(|alpha| colour.multiplied_by == alpha.id),
            colours: colour.properties.colours()?,
            turn: colour.properties.turn(),
            exif: None,
            xmp: None,
        };
        if let Some(items) = &colour.items {
            source.find_metadata(file, items, 0)?;
        }
        Ok(source)
    }

    /// EXIF and XMP that describe an item, or any where its number is 0.
    fn find_metadata(&mut self, file: &[u8], items: &Items, id: u32) -> Result<(), DecodeError> {
        for item in &items.all {
            if !item.is_metadata() || (id > 0 && item.description_of != id) {
                continue;
            }
            if &item.kind == b"Exif" {
                let bytes = items.bytes(file, item)?;
                let (offset, exif) =
                    bytes.split_first_chunk().ok_or(DecodeError::Truncated { format: FORMAT })?;
                let header = exif.windows(4).position(|window| matches!(window, b"II*\0" | b"MM\0*"));
                if header != Some(u32::from_be_bytes(*offset) as usize) {
                    return Err(broken("EXIF that begins elsewhere"));
                }
                self.exif = Some(exif.to_vec());
            } else if item.is_xmp {
                self.xmp = Some(items.bytes(file, item)?);
            }
        }
        Ok(())
    }
}

impl Coded {
    fn of_item(file: &[u8], items: &Items, item: &Item, is_alpha: bool) -> Result<Self, DecodeError> {
        if &item.kind == b"av01" {
            return Self::of_tiles(file, items, &[item], None, is_alpha);
        }
        let bytes = items.bytes(file, item)?;
        let grid = grid(&bytes)?;
        let tiles = Self::parts(items, item)?;
        if tiles.len() != grid.0 * grid.1 {
            return Err(broken("another number of tiles than the grid has"));
        }
        if item.dimensions().map(|(width, height)| (width as usize, height as usize))
            != Some((grid.2, grid.3))
        {
            return Err(unsupported("a grid of another size than is stated"));
        }
        check_depths(&item.properties, tiles[0].properties.config()?)?;
        Self::of_tiles(file, items, &tiles, Some(grid), is_alpha)
    }

    /// The parts of a grid, in their order.
    fn parts<'i>(items: &'i Items, item: &Item) -> Result<Vec<&'i Item>, DecodeError> {
        let mut parts: Vec<(usize, &Item)> = items
            .all
            .iter()
            .filter_map(|part| part.part_of.filter(|(of, _)| *of == item.id).map(|(_, place)| (place, part)))
            .collect();
        parts.sort_by_key(|(place, _)| *place);
        if parts.iter().enumerate().any(|(index, (place, _))| index != *place) {
            return Err(broken("parts without order"));
        }
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }

    fn of_tiles(
        file: &[u8],
        items: &Items,
        tiles: &[&Item],
        grid: Option<(usize, usize, usize, usize)>,
        is_alpha: bool,
    ) -> Result<Self, DecodeError> {
        let [first, ..] = tiles else { return Err(broken("no tiles")) };
        let config = first.properties.config()?;
        let size = first.dimensions().ok_or_else(|| broken("a tile without a size"))?;
        let mut data = Vec::with_capacity(tiles.len());
        for tile in tiles {
            if &tile.kind != b"av01" || tile.is_skipped() {
                return Err(broken("a tile that is no picture"));
            }
            if tile.properties.config()? != config || tile.dimensions() != Some(size) {
                return Err(broken("tiles of different kinds"));
            }
            check_depths(&tile.properties, config)?;
            let bytes = items.bytes(file, tile)?;
            check_layers(&tile.properties, bytes.len())?;
            data.push(bytes);
        }
        let tile_size = (size.0 as usize, size.1 as usize);
        if let Some(grid) = grid {
            check_grid(grid, tile_size, config)?;
        }
        Ok(Self { tiles: data, tile_size, grid, config, is_alpha })
    }

    fn of_track(file: &[u8], track: &Track, is_alpha: bool) -> Result<Self, DecodeError> {
        let config = track.properties.config()?;
        let tile_size = (track.size.0 as usize, track.size.1 as usize);
        Ok(Self { tiles: vec![track.first(file)?.to_vec()], tile_size, grid: None, config, is_alpha })
    }
}

/// The brands of a file type box, the major one first.
fn brands(body: &[u8]) -> Result<Vec<[u8; 4]>, DecodeError> {
    if body.len() < 8 || !body.len().is_multiple_of(4) {
        return Err(broken("a file type of odd length"));
    }
    let brands = body.chunks_exact(4).map(|brand| [brand[0], brand[1], brand[2], brand[3]]);
    Ok(brands.enumerate().filter(|(index, _)| *index != 1).map(|(_, brand)| brand).collect())
}

/// Every picture must have a size, used or not.
fn check_sizes(items: &Items) -> Result<(), DecodeError> {
    for item in items.all.iter().filter(|item| !item.is_skipped()) {
        let (width, height) = item.dimensions().unwrap_or((0, 0));
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > MOST_PIXELS || width.max(height) > LARGEST_EDGE {
            return Err(broken("a picture without a size, or of one that is too large"));
        }
    }
    Ok(())
}

/// A gain map belongs to two pictures, itself and the one that it is for, both of which must be there.
fn check_gain_map(file: &[u8], items: &Items, map: &Item) -> Result<(), DecodeError> {
    let parts = Coded::parts(items, map)?;
    if parts.len() != 2 || parts.iter().any(|part| part.is_skipped()) || map.dimensions().is_none() {
        return Err(broken("a gain map without its pictures"));
    }
    for part in parts {
        items.bytes(file, part)?;
        if &part.kind == b"av01" {
            check_depths(&part.properties, part.properties.config()?)?;
        } else {
            grid(&items.bytes(file, part)?)?;
        }
    }
    Ok(())
}

/// A statement of depths must be the bitstream's.
fn check_depths(properties: &Properties, config: Config) -> Result<(), DecodeError> {
    let stated = properties.find(|property| match property {
        Property::Depths(depths) => Some(depths[0]),
        _ => None,
    });
    match stated {
        Some(depth) if depth != config.depth() => Err(broken("a depth that is not the bitstream's")),
        _ => Ok(()),
    }
}

/// Of layers all are decoded and the last is shown, where none is asked for.
fn check_layers(properties: &Properties, size: usize) -> Result<(), DecodeError> {
    if properties.0.contains(&Property::Selector) {
        return Err(unsupported("a layer that is chosen"));
    }
    let layers = properties.find(|property| match property {
        Property::Layers(sizes) => Some(*sizes),
        _ => None,
    });
    let mut left = size;
    for layer in layers.into_iter().flatten().take_while(|&layer| layer != 0) {
        left = left
            .checked_sub(layer as usize)
            .filter(|&left| left > 0)
            .ok_or_else(|| broken("layers beyond the picture"))?;
    }
    Ok(())
}

/// Columns and rows of tiles, width and height of the whole (`avifParseImageGridBox`).
fn grid(bytes: &[u8]) -> Result<(usize, usize, usize, usize), DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let [version, flags, rows, columns] = reader.array()?;
    let mut edge = || if flags & 1 == 1 { reader.u32_be() } else { reader.u16_be().map(u32::from) };
    let (width, height) = (edge()?, edge()?);
    let pixels = u64::from(width) * u64::from(height);
    if version != 0
        || !reader.rest().is_empty()
        || pixels == 0
        || pixels > MOST_PIXELS
        || width.max(height) > LARGEST_EDGE
    {
        return Err(broken("an unknown kind of grid"));
    }
    Ok((usize::from(columns) + 1, usize::from(rows) + 1, width as usize, height as usize))
}

/// Tiles must cover the picture, each of them a part of it (`avifDecoderDataAllocateImagePlanes`, `avifAreGridDimensionsValid`).
fn check_grid(
    (columns, rows, width, height): (usize, usize, usize, usize),
    tile: (usize, usize),
    config: Config,
) -> Result<(), DecodeError> {
    let fits = |count: usize, edge: usize, whole: usize| edge * count >= whole && edge * (count - 1) < whole;
    if !fits(columns, tile.0, width) || !fits(rows, tile.1, height) || tile.0.min(tile.1) < LEAST_TILE {
        return Err(broken("tiles that do not cover the picture"));
    }
    let is_odd = |edges: (usize, usize)| !edges.0.is_multiple_of(2) || !edges.1.is_multiple_of(2);
    let (across, down) = if config.is_monochrome() { (false, false) } else { config.subsampling() };
    if (across && is_odd((width, tile.0))) || (across && down && is_odd((height, tile.1))) {
        return Err(broken("tiles of odd size"));
    }
    Ok(())
}
