//! BMP, with and without its file header, as Pillow reads it.

use super::Limits;
use super::error::DecodeError;
use super::raster::{Palette, Pixels, Raster};
use super::reader::Reader;

const FORMAT: &str = "BMP";
/// Header sizes that name a version of the format.
const HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

pub(super) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM") || matches_headerless(bytes)
}

/// A device-independent bitmap, which is a BMP without its first 14 bytes.
fn matches_headerless(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|size| HEADERS.contains(&u32::from_le_bytes(*size)))
}

/// What the header says.
#[derive(Debug)]
struct Header {
    size: u32,
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: u32,
    colours: u32,
    /// Red, green, blue and alpha, where they are given.
    masks: Option<[u32; 4]>,
}

/// How pixels lie in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Palette indices of this many bits.
    Indexed(u32),
    /// Grey of 8 bits.
    Grey,
    /// Black and white, 1 bit.
    Bilevel,
    /// 5 bits each.
    Rgb555,
    /// 5, 6 and 5 bits.
    Rgb565,
    /// Whole bytes: their number, and where red, green, blue and alpha are.
    Bytes(usize, [usize; 3], Option<usize>),
}

impl Layout {
    fn bits(self) -> usize {
        match self {
            Self::Indexed(bits) => bits as usize,
            Self::Grey => 8,
            Self::Bilevel => 1,
            Self::Rgb555 | Self::Rgb565 => 16,
            Self::Bytes(bytes, ..) => bytes * 8,
        }
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let mut offset = 0;
    if bytes.starts_with(b"BM") {
        reader.seek(10);
        offset = u64::from(reader.u32_le()?);
    }
    let header = read_header(&mut reader)?;
    limits.check(header.width.into(), header.height.into())?;
    let palette_entry = if header.size == 12 { 3 } else { 4 };
    if offset == 14 + u64::from(header.size) && header.bits <= 8 {
        offset += palette_entry * u64::from(header.colours);
    }

    let mut layout = layout(&header)?;
    let mut palette = None;
    if let Layout::Indexed(_) = layout {
        if !(1..=65_536).contains(&header.colours) {
            return Err(DecodeError::invalid(FORMAT, format!("palette of {} colours", header.colours)));
        }
        let data = reader.up_to(palette_entry as usize * header.colours as usize);
        if is_grey(data, palette_entry as usize, header.colours) {
            layout = if header.colours <= 2 { Layout::Bilevel } else { Layout::Grey };
        } else {
            palette = Some(read_palette(data, palette_entry as usize)?);
        }
    }

    if offset != 0 {
        reader.seek(usize::try_from(offset).unwrap_or(usize::MAX));
    }
    let stride = ((u64::from(header.width) * u64::from(header.bits) + 31) >> 3) & !3;
    let pixels = match header.compression {
        1 | 2 => {
            let indices = run_lengths(&mut reader, &header)?;
            match (layout, palette) {
                (Layout::Indexed(_), Some(palette)) => Pixels::Indexed(indices, palette),
                (Layout::Grey, _) => Pixels::Grey(indices),
                _ => return Err(DecodeError::unsupported(FORMAT, "run lengths for these colours")),
            }
        }
        _ => unpack(&mut reader, &header, layout, palette, stride as usize)?,
    };
    Ok(Raster::new(header.width, header.height, pixels))
}

fn read_header(reader: &mut Reader) -> Result<Header, DecodeError> {
    let size = reader.u32_le()?;
    if !HEADERS.contains(&size) {
        return Err(DecodeError::unsupported(FORMAT, format!("a header of {size} bytes")));
    }
    let data = reader.take(size as usize - 4)?;
    let mut fields = Reader::new(data, FORMAT);
    if size == 12 {
        let (width, height) = (u32::from(fields.u16_le()?), u32::from(fields.u16_le()?));
        let (_planes, bits) = (fields.u16_le()?, fields.u16_le()?);
        let colours = 1u32.checked_shl(bits.into()).unwrap_or(0);
        return Ok(Header {
            size,
            width,
            height,
            top_down: false,
            bits,
            compression: 0,
            colours,
            masks: None,
        });
    }
    let (width, height) = (fields.u32_le()?, fields.u32_le()?);
    let top_down = height >> 24 == 0xff;
    let (_planes, bits) = (fields.u16_le()?, fields.u16_le()?);
    let compression = fields.u32_le()?;
    fields.seek(28);
    let colours = match fields.u32_le()? {
        0 => 1u32.checked_shl(bits.into()).unwrap_or(0),
        colours => colours,
    };
    let masks = if compression != 3 {
        None
    } else if size >= 52 {
        fields.seek(36);
        let mut mask = || fields.u32_le();
        let rgb = [mask()?, mask()?, mask()?];
        let alpha = if size >= 56 { mask()? } else { 0 };
        Some([rgb[0], rgb[1], rgb[2], alpha])
    } else {
        Some([reader.u32_le()?, reader.u32_le()?, reader.u32_le()?, 0])
    };
    let height = if top_down { height.wrapping_neg() } else { height };
    Ok(Header { size, width, height, top_down, bits, compression, colours, masks })
}

fn layout(header: &Header) -> Result<Layout, DecodeError> {
    let unsupported = |what: String| Err(DecodeError::unsupported(FORMAT, what));
    let plain = match header.bits {
        1 | 4 | 8 => Layout::Indexed(u32::from(header.bits)),
        16 => Layout::Rgb555,
        24 => Layout::Bytes(3, [2, 1, 0], None),
        32 => Layout::Bytes(4, [2, 1, 0], None),
        bits => return unsupported(format!("{bits} bits per pixel")),
    };
    match header.compression {
        0..=2 => Ok(plain),
        3 => {
            let masks = header.masks.unwrap_or_default();
            Ok(match (header.bits, masks) {
                (32, [0xff0000, 0xff00, 0xff, 0]) => plain,
                (32, [0xff000000, 0xff0000, 0xff00, 0]) => Layout::Bytes(4, [3, 2, 1], None),
                (32, [0xff000000, 0xff00, 0xff, 0]) => Layout::Bytes(4, [3, 1, 0], None),
                (32, [0xff000000, 0xff0000, 0xff00, 0xff]) => Layout::Bytes(4, [3, 2, 1], Some(0)),
                (32, [0xff, 0xff00, 0xff0000, 0xff000000]) => Layout::Bytes(4, [0, 1, 2], Some(3)),
                (32, [0xff0000, 0xff00, 0xff, 0xff000000] | [0, 0, 0, 0]) => {
                    Layout::Bytes(4, [2, 1, 0], Some(3))
                }
                (32, [0xff000000, 0xff00, 0xff, 0xff0000]) => Layout::Bytes(4, [3, 1, 0], Some(2)),
                (24, [0xff0000, 0xff00, 0xff, _]) => plain,
                (16, [0xf800, 0x7e0, 0x1f, _]) => Layout::Rgb565,
                (16, [0x7c00, 0x3e0, 0x1f, _]) => plain,
                _ => return unsupported("these bit fields".to_owned()),
            })
        }
        other => unsupported(format!("compression {other}")),
    }
}

/// Whether a palette is black and white, or the grey ramp, in which case Pillow takes indices for values.
fn is_grey(data: &[u8], entry: usize, colours: u32) -> bool {
    (0..colours as usize).all(|index| {
        let value = if colours == 2 { index as u8 * 255 } else { index as u8 };
        data.get(index * entry..index * entry + 3) == Some(&[value; 3])
    })
}

fn read_palette(data: &[u8], entry: usize) -> Result<Box<Palette>, DecodeError> {
    if data.len() / entry > 256 {
        return Err(DecodeError::invalid(FORMAT, "palette of more than 256 colours"));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (colour, bgr) in palette.iter_mut().zip(data.chunks_exact(entry)) {
        *colour = [bgr[2], bgr[1], bgr[0]];
    }
    Ok(palette)
}

/// Unpacks rows of `stride` bytes; the last may lack its padding.
fn unpack(
    reader: &mut Reader,
    header: &Header,
    layout: Layout,
    palette: Option<Box<Palette>>,
    stride: usize,
) -> Result<Pixels, DecodeError> {
    let (width, height) = (header.width as usize, header.height as usize);
    let row_bytes = (width * layout.bits()).div_ceil(8);
    if row_bytes > stride {
        return Err(DecodeError::invalid(FORMAT, "a grey palette for pixels of less than 8 bits"));
    }
    let data = reader.take(stride * (height - 1) + row_bytes)?;
    let channels = match layout {
        Layout::Indexed(_) | Layout::Grey | Layout::Bilevel => 1,
        Layout::Bytes(_, _, Some(_)) => 4,
        _ => 3,
    };
    let mut out = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        let row = if header.top_down { y } else { height - 1 - y };
        unpack_row(&data[row * stride..row * stride + row_bytes], width, layout, &mut out);
    }
    Ok(match (layout, palette) {
        (Layout::Indexed(_), palette) => {
            Pixels::Indexed(out, palette.unwrap_or_else(|| Box::new([[0; 3]; 256])))
        }
        (Layout::Grey | Layout::Bilevel, _) => Pixels::Grey(out),
        (Layout::Bytes(_, _, Some(_)), _) => Pixels::Rgba(out),
        _ => Pixels::Rgb(out),
    })
}

fn unpack_row(row: &[u8], width: usize, layout: Layout, out: &mut Vec<u8>) {
    let bits = |depth: usize| {
        (0..width)
            .map(move |x| row[x * depth / 8] >> (8 - depth - x * depth % 8) & ((1u16 << depth) - 1) as u8)
    };
    let words = || row.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])));
    let five = |word: u32, shift: u32| ((word >> shift & 31) * 255 / 31) as u8;
    match layout {
        Layout::Indexed(8) | Layout::Grey => out.extend_from_slice(row),
        Layout::Indexed(depth) => out.extend(bits(depth as usize)),
        Layout::Bilevel => out.extend(bits(1).map(|bit| bit * 255)),
        Layout::Rgb555 => out.extend(words().flat_map(|word| [five(word, 10), five(word, 5), five(word, 0)])),
        Layout::Rgb565 => out.extend(
            words().flat_map(|word| [five(word, 11), ((word >> 5 & 63) * 255 / 63) as u8, five(word, 0)]),
        ),
        Layout::Bytes(size, [r, g, b], None) => {
            out.extend(row.chunks_exact(size).flat_map(|pixel| [pixel[r], pixel[g], pixel[b]]));
        }
        Layout::Bytes(size, [r, g, b], Some(a)) => {
            out.extend(row.chunks_exact(size).flat_map(|pixel| [pixel[r], pixel[g], pixel[b], pixel[a]]));
        }
    }
}

/// Decodes run lengths to one byte per pixel, top row first. Too few pixels are an error.
fn run_lengths(reader: &mut Reader, header: &Header) -> Result<Vec<u8>, DecodeError> {
    let (width, height) = (header.width as usize, header.height as usize);
    let nibbles = header.compression == 2;
    let wanted = width * height;
    let mut data: Vec<u8> = Vec::new();
    let mut x = 0;
    while data.len() < wanted {
        let [count, value] = reader.up_to(2) else { break };
        let (count, value) = (usize::from(*count), *value);
        match (count, value) {
            // End of line.
            (0, 0) => {
                data.resize(data.len().next_multiple_of(width), 0);
                x = 0;
            }
            // End of bitmap.
            (0, 1) => break,
            // A step right and up.
            (0, 2) => {
                let [right, up] = reader.up_to(2) else { break };
                let step = usize::from(*right) + usize::from(*up) * width;
                data.resize(data.len() + step.min(wanted - data.len()), 0);
                x = data.len() % width;
            }
            // Pixels one by one.
            (0, run) => {
                let pixels = usize::from(run).min(wanted - data.len());
                let length = if nibbles { pixels.div_ceil(2) } else { pixels };
                let bytes = reader.up_to(length);
                if nibbles {
                    let both = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                    data.extend(both.take(pixels));
                } else {
                    data.extend_from_slice(bytes);
                }
                if bytes.len() < length || data.len() == wanted {
                    break;
                }
                x += usize::from(run);
                // Runs are padded to an even place in the file.
                if reader.position() % 2 != 0 {
                    reader.seek(reader.position() + 1);
                }
            }
            // One value, or two in turn, repeated; what does not fit the row is dropped.
            _ => {
                let count = if x + count > width { width.saturating_sub(x) } else { count };
                if nibbles {
                    data.extend((0..count).map(|index| if index % 2 == 0 { value >> 4 } else { value & 15 }));
                } else {
                    data.resize(data.len() + count, value);
                }
                x += count;
            }
        }
    }
    if data.len() < wanted {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    data.truncate(wanted);
    if !header.top_down {
        data = data.chunks_exact(width).rev().flatten().copied().collect();
    }
    Ok(data)
}
