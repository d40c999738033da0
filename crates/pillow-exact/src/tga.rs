//! TGA, which has no signature: a file is one whose first 18 bytes make sense as its header (`TgaImagePlugin`).

use crate::error::DecodeError;
use crate::format::TGA as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster, converted};
use crate::reader::Reader;

const HEADER: usize = 18;
/// What a file of the format's second version ends with: two offsets, then this.
const FOOTER: usize = 26;
const SIGNATURE: &[u8] = b"TRUEVISION-XFILE.\0";
/// Where an extension area says what alpha means.
const ATTRIBUTES_TYPE: usize = 494;

/// How a pixel lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Indexed,
    Bilevel,
    Grey,
    GreyAlpha,
    Bgra15,
    Bgr,
    Bgra,
}

/// The header's fields that matter.
struct Header {
    has_palette: bool,
    kind: u8,
    width: u16,
    height: u16,
    depth: u8,
    flags: u8,
}

impl Header {
    /// None where `_open` says that it is no TGA.
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let fields = Self {
            has_palette: header[1] == 1,
            kind: header[2],
            width: word(12),
            height: word(14),
            depth: header[16],
            flags: header[17],
        };
        let is_known = header[1] <= 1
            && matches!(fields.kind, 1..=3 | 9..=11)
            && fields.width > 0
            && fields.height > 0
            && matches!(fields.depth, 1 | 8 | 16 | 24 | 32);
        (is_known && (!fields.has_palette || matches!(header[7], 16 | 24 | 32))).then_some(fields)
    }

    /// The rows are packed as run lengths.
    fn is_packed(&self) -> bool {
        self.kind & 8 != 0
    }

    fn layout(&self) -> Option<Layout> {
        match (self.kind & 7, self.depth) {
            // Without a palette the mode is L, which knows no such pixels.
            (1, 8) if self.has_palette => Some(Layout::Indexed),
            (3, 1) => Some(Layout::Bilevel),
            (3, 8) => Some(Layout::Grey),
            (3, 16) => Some(Layout::GreyAlpha),
            (2, 16) => Some(Layout::Bgra15),
            (2, 24) => Some(Layout::Bgr),
            (2, 32) => Some(Layout::Bgra),
            _ => None,
        }
    }
}

pub(crate) fn matches(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some()
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let header = Header::read(bytes).ok_or_else(|| DecodeError::invalid(FORMAT, "unknown header"))?;
    limits.check(header.width.into(), header.height.into())?;
    let layout = header.layout().ok_or_else(|| {
        DecodeError::unsupported(FORMAT, format!("type {} of {} bits", header.kind, header.depth))
    })?;
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(HEADER);
    reader.up_to(bytes[0].into());
    let palette = if header.has_palette { Some(read_palette(bytes, &mut reader)?) } else { None };

    let (width, height) = (usize::from(header.width), usize::from(header.height));
    let row = (width * usize::from(header.depth)).div_ceil(8);
    let unpacked;
    let rows = if header.is_packed() {
        unpacked = match header.depth {
            8 => unpack::<1>(&mut reader, width, height)?,
            16 => unpack::<2>(&mut reader, width, height)?,
            24 => unpack::<3>(&mut reader, width, height)?,
            32 => unpack::<4>(&mut reader, width, height)?,
            _ => return Err(DecodeError::unsupported(FORMAT, "run lengths of bits")),
        };
        &unpacked
    } else {
        reader.take(row * height)?
    };
    let rows = Rows { rows, row, is_bottom_up: header.flags & 0x20 == 0 };
    let mut pixels = pixels(&rows, layout, width, palette)?;
    if let Pixels::Rgba(rgba) = &mut pixels {
        // `load_end` looks for the footer of these alone.
        let footer = bytes.len().checked_sub(FOOTER).ok_or(DecodeError::Truncated { format: FORMAT })?;
        if is_opaque(bytes, &bytes[footer..]) {
            rgba.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
        }
    }
    if header.flags & 0x10 != 0 {
        pixels = mirrored(pixels, width);
    }
    Ok(Raster::new(header.width.into(), header.height.into(), pixels))
}

/// The colours from the number that the first has. What is missing is black.
fn read_palette(bytes: &[u8], reader: &mut Reader) -> Result<Box<Palette>, DecodeError> {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (start, size, depth) = (word(3), word(5), bytes[7]);
    let entry = usize::from(depth / 8);
    let data = reader.up_to(entry * size);
    // `putpalette` counts whole colours.
    if start + data.len() / entry > 256 {
        return Err(DecodeError::invalid(FORMAT, "a palette of more than 256 colours"));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (colour, entry) in palette.iter_mut().skip(start).zip(data.chunks_exact(entry)) {
        *colour = match entry {
            &[low, high] => bgr15(low, high),
            entry => [entry[2], entry[1], entry[0]],
        };
    }
    Ok(palette)
}

/// Five bits each, widened by division (`ImagingUnpackBGRA15Z`).
fn bgr15(low: u8, high: u8) -> [u8; 3] {
    let word = u32::from(u16::from_le_bytes([low, high]));
    [10, 5, 0].map(|shift| ((word >> shift & 31) * 255 / 31) as u8)
}

/// Undoes the run lengths (`ImagingTgaRleDecode`): a run ends with its row, literal pixels go on in the next.
fn unpack<const SIZE: usize>(
    reader: &mut Reader,
    width: usize,
    height: usize,
) -> Result<Vec<u8>, DecodeError> {
    // No more is reserved than what the file can hold: two bytes give 128 pixels at most.
    let wanted = width * height;
    let mut pixels: Vec<[u8; SIZE]> = Vec::with_capacity(wanted.min(reader.rest().len().saturating_mul(64)));
    while pixels.len() < wanted {
        let head = reader.byte()?;
        let count = usize::from(head & 0x7f) + 1;
        if head & 0x80 == 0 {
            let literal = reader.take(count * SIZE)?.as_chunks().0;
            pixels.extend_from_slice(&literal[..count.min(wanted - pixels.len())]);
        } else {
            let value = reader.array()?;
            if pixels.len() % width + count > width {
                return Err(DecodeError::invalid(FORMAT, "a run beyond its row"));
            }
            pixels.resize(pixels.len() + count, value);
        }
    }
    Ok(pixels.into_flattened())
}

/// The bytes of a picture's rows, as they are stored.
struct Rows<'a> {
    rows: &'a [u8],
    /// Bytes of a row.
    row: usize,
    is_bottom_up: bool,
}

impl Rows<'_> {
    /// From top to bottom, with each pixel of `N` bytes as one of `M`.
    fn pixels<const N: usize, const M: usize>(&self, pixel: impl Fn(&[u8; N]) -> [u8; M]) -> Vec<u8> {
        if !self.is_bottom_up {
            return converted(self.rows, pixel);
        }
        let mut out = vec![[0; M]; self.rows.len() / N];
        let rows = self.rows.chunks_exact(self.row).rev();
        for (to, from) in out.chunks_exact_mut(self.row / N).zip(rows) {
            to.iter_mut().zip(from.as_chunks().0).for_each(|(to, from)| *to = pixel(from));
        }
        out.into_flattened()
    }
}

fn pixels(
    rows: &Rows,
    layout: Layout,
    width: usize,
    palette: Option<Box<Palette>>,
) -> Result<Pixels, DecodeError> {
    Ok(match (layout, palette) {
        // Grey with a palette becomes indices when it is put: `Image.load`.
        (Layout::Indexed | Layout::Grey, Some(palette)) => {
            Pixels::Indexed(rows.pixels(|index: &[u8; 1]| *index), palette)
        }
        (Layout::GreyAlpha, Some(palette)) => {
            Pixels::IndexedAlpha(rows.pixels(|pair: &[u8; 2]| *pair), palette)
        }
        (_, Some(_)) => return Err(DecodeError::unsupported(FORMAT, "a palette beside colours")),
        (Layout::Indexed | Layout::Grey, None) => Pixels::Grey(rows.pixels(|value: &[u8; 1]| *value)),
        (Layout::GreyAlpha, None) => Pixels::GreyAlpha(rows.pixels(|pair: &[u8; 2]| *pair)),
        (Layout::Bilevel, None) => {
            let bits: [_; 8] = std::array::from_fn(|bit| 0x80 >> bit);
            let bytes = rows.pixels(|&[byte]| bits.map(|bit| if byte & bit == 0 { 0 } else { 255 }));
            let rows = bytes.chunks_exact(rows.row * 8);
            Pixels::Grey(rows.flat_map(|row| &row[..width]).copied().collect())
        }
        (Layout::Bgra15, None) => Pixels::Rgba(rows.pixels(|&[low, high]| {
            let [red, green, blue] = bgr15(low, high);
            // A set bit is transparent.
            [red, green, blue, if high & 0x80 == 0 { 255 } else { 0 }]
        })),
        (Layout::Bgr, None) => Pixels::Rgb(rows.pixels(|&[blue, green, red]| [red, green, blue])),
        (Layout::Bgra, None) => {
            Pixels::Rgba(rows.pixels(|&[blue, green, red, alpha]| [red, green, blue, alpha]))
        }
    })
}

/// Whether the file's extension area says that it has no alpha.
fn is_opaque(bytes: &[u8], footer: &[u8]) -> bool {
    if !footer.ends_with(SIGNATURE) {
        return false;
    }
    let extension = u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]) as usize;
    extension != 0 && bytes.get(extension.saturating_add(ATTRIBUTES_TYPE)) == Some(&0)
}

fn mirrored(pixels: Pixels, width: usize) -> Pixels {
    let mirror = |samples: Vec<u8>, pixel: usize| {
        let rows = samples.chunks_exact(width * pixel);
        rows.flat_map(|row| row.chunks_exact(pixel).rev().flatten()).copied().collect::<Vec<u8>>()
    };
    match pixels {
        Pixels::Grey(grey) => Pixels::Grey(mirror(grey, 1)),
        Pixels::GreyAlpha(pairs) => Pixels::GreyAlpha(mirror(pairs, 2)),
        Pixels::Rgb(rgb) => Pixels::Rgb(mirror(rgb, 3)),
        Pixels::Rgba(rgba) => Pixels::Rgba(mirror(rgba, 4)),
        Pixels::Indexed(indices, palette) => Pixels::Indexed(mirror(indices, 1), palette),
        Pixels::IndexedAlpha(pairs, palette) => Pixels::IndexedAlpha(mirror(pairs, 2), palette),
        other => other,
    }
}
