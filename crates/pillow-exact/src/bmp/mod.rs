//! BMP, with and without its file header, as Pillow reads it.

use run_lengths::run_lengths;
mod run_lengths;

use crate::error::DecodeError;
use crate::format::BMP as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster};
use crate::reader::Reader;

/// Header sizes that name a version of the format.
const HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM") || matches_headerless(bytes)
}

/// A device-independent bitmap, which is a BMP without its first 14 bytes.
fn matches_headerless(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|size| HEADERS.contains(&u32::from_le_bytes(*size)))
}

/// Whether a file is surely a BMP: many a text begins with the same two letters, and headers without them are only numbers.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    start.starts_with(b"BM") && start.get(14..).is_some_and(matches_headerless)
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

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let mut offset = 0;
    if bytes.starts_with(b"BM") {
        reader.seek(10);
        offset = u64::from(reader.u32_le()?);
    }
    let bitmap = Bitmap::read(&mut reader, offset, Fourth::Unused)?;
    limits.check(bitmap.width().into(), bitmap.height().into())?;
    let pixels = bitmap.pixels(&reader, bitmap.height())?;
    Ok(Raster::new(bitmap.width(), bitmap.height(), pixels))
}

/// What the fourth byte of an uncompressed pixel of 32 bits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fourth {
    Unused,
    Alpha,
}

/// A bitmap of which header and palette are read: a file of its own, or a picture in an icon.
#[derive(Debug)]
pub(crate) struct Bitmap {
    header: Header,
    layout: Layout,
    palette: Option<Box<Palette>>,
    /// Where the pixels begin.
    start: usize,
}

impl Bitmap {
    /// Reads header and palette. The pixels follow them, unless they begin at an `offset` that is not 0.
    pub(crate) fn read(reader: &mut Reader, mut offset: u64, fourth: Fourth) -> Result<Self, DecodeError> {
        let header = read_header(reader)?;
        let palette_entry = if header.size == 12 { 3 } else { 4 };
        if offset == 14 + u64::from(header.size) && header.bits <= 8 {
            offset += palette_entry * u64::from(header.colours);
        }
        let mut layout = layout(&header)?;
        if fourth == Fourth::Alpha && header.bits == 32 && header.compression == 0 {
            layout = Layout::Bytes(4, [2, 1, 0], Some(3));
        }
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
        let start =
            if offset == 0 { reader.position() } else { usize::try_from(offset).unwrap_or(usize::MAX) };
        Ok(Self { header, layout, palette, start })
    }

    pub(crate) fn width(&self) -> u32 {
        self.header.width
    }

    pub(crate) fn height(&self) -> u32 {
        self.header.height
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Whether Pillow takes it for grey, or for black and white.
    pub(crate) fn is_grey(&self) -> bool {
        matches!(self.layout, Layout::Grey | Layout::Bilevel)
    }

    /// The pixels of its first `height` rows in the order of the file.
    pub(crate) fn pixels(&self, reader: &Reader, height: u32) -> Result<Pixels, DecodeError> {
        let Self { header, layout, palette, start } = self;
        let mut reader = reader.clone();
        reader.seek(*start);
        let (width, height) = (header.width as usize, height as usize);
        if !matches!(header.compression, 1 | 2) {
            let stride = ((u64::from(header.width) * u64::from(header.bits) + 31) >> 3) & !3;
            return self.unpack(&mut reader, height, stride as usize);
        }
        let mut indices = run_lengths(&mut reader, width, height, header.compression == 2)?;
        if !header.top_down {
            indices = indices.chunks_exact(width).rev().flatten().copied().collect();
        }
        match (layout, palette) {
            (Layout::Indexed(_), Some(palette)) => Ok(Pixels::Indexed(indices, palette.clone())),
            (Layout::Grey, _) => Ok(Pixels::Grey(indices)),
            _ => Err(DecodeError::unsupported(FORMAT, "run lengths for these colours")),
        }
    }

    /// Unpacks rows of `stride` bytes; the last may lack its padding.
    fn unpack(&self, reader: &mut Reader, height: usize, stride: usize) -> Result<Pixels, DecodeError> {
        let (width, layout) = (self.header.width as usize, self.layout);
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
            let row = if self.header.top_down { y } else { height - 1 - y };
            unpack_row(&data[row * stride..row * stride + row_bytes], width, layout, &mut out);
        }
        Ok(match layout {
            Layout::Indexed(_) => {
                Pixels::Indexed(out, self.palette.clone().unwrap_or_else(|| Box::new([[0; 3]; 256])))
            }
            Layout::Grey | Layout::Bilevel => Pixels::Grey(out),
            Layout::Bytes(_, _, Some(_)) => Pixels::Rgba(out),
            _ => Pixels::Rgb(out),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a header of 40 bytes, a palette of 4 bytes a colour, and rows.
    fn bmp(size: [i32; 2], bits: u16, compression: u32, palette: &[u8], rows: &[u8]) -> Vec<u8> {
        let colours = palette.len() as u32 / 4;
        let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
        file.extend((54 + palette.len() as u32).to_le_bytes());
        file.extend(40u32.to_le_bytes());
        file.extend(size.iter().flat_map(|edge| edge.to_le_bytes()));
        file.extend([1, 0]);
        file.extend(bits.to_le_bytes());
        file.extend([compression, 0, 0, 0, colours, 0].iter().flat_map(|field| field.to_le_bytes()));
        [file.as_slice(), palette, rows].concat()
    }

    fn rgb(file: &[u8]) -> Vec<u8> {
        let raster = decode(file, &Limits::new(1 << 20, None)).expect("a picture");
        raster.into_rgb(crate::Alpha::White).expect("RGB").into_raw()
    }

    #[test]
    fn rows_are_bottom_up_padded_and_bgr() {
        let rows = [1, 2, 3, 0xff, 4, 5, 6, 0xff];
        assert_eq!(rgb(&bmp([1, 2], 24, 0, &[], &rows)), [6, 5, 4, 3, 2, 1]);
        assert_eq!(rgb(&bmp([1, -2], 24, 0, &[], &rows)), [3, 2, 1, 6, 5, 4]);
        // Without the padding of the last row; and without the file header.
        let file = bmp([1, 2], 24, 0, &[], &rows[..7]);
        assert_eq!(rgb(&file), [6, 5, 4, 3, 2, 1]);
        assert_eq!(rgb(&file[14..]), [6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn five_bits_widen_by_division() {
        let word = |red: u16, green: u16, blue: u16| (red << 10 | green << 5 | blue).to_le_bytes();
        let rows = [word(31, 16, 0), word(1, 2, 3)].concat();
        assert_eq!(rgb(&bmp([2, 1], 16, 0, &[], &rows)), [255, 131, 0, 8, 16, 24]);
    }

    #[test]
    fn a_grey_palette_makes_values_of_indices() {
        let colours = [[9, 8, 7, 0], [30, 20, 10, 0]].concat();
        assert_eq!(rgb(&bmp([2, 1], 8, 0, &colours, &[1, 0, 0, 0])), [10, 20, 30, 7, 8, 9]);
        let ramp: Vec<u8> = (0..3).flat_map(|grey| [grey, grey, grey, 0]).collect();
        assert_eq!(rgb(&bmp([2, 1], 8, 0, &ramp, &[2, 200, 0, 0])), [2, 2, 2, 200, 200, 200]);
        let bilevel = [[0; 4], [255, 255, 255, 0]].concat();
        assert_eq!(rgb(&bmp([2, 1], 1, 0, &bilevel, &[0x40, 0, 0, 0])), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn what_is_missing_or_unknown_is_an_error() {
        let file = bmp([1, 2], 24, 0, &[], &[0; 8]);
        let error =
            |file: &[u8]| decode(file, &Limits::new(1 << 20, None)).expect_err("no picture").to_string();
        for length in 14..file.len() - 1 {
            assert_eq!(error(&file[..length]), "BMP is truncated", "at {length}");
        }
        assert_eq!(error(&bmp([1, 1], 2, 0, &[], &[0; 4])), "BMP with 2 bits per pixel is not supported");
        assert_eq!(error(&bmp([1, 1], 24, 4, &[], &[0; 4])), "BMP with compression 4 is not supported");
        assert!(matches!(
            decode(&bmp([60_000, 60_000], 24, 0, &[], &[]), &Limits::new(1 << 20, None)),
            Err(DecodeError::TooManyPixels { .. })
        ));
    }
}
