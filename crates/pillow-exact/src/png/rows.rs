//! PNG rows: undoing the filters, unpacking the samples and putting interlaced passes in their place.

use super::header::{ColourType, Kind};
use crate::error::DecodeError;
use crate::format::PNG as FORMAT;
use crate::raster::Pixels;

/// First column, first row, column step and row step of Adam7's passes.
const PASSES: [[u32; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
/// The one pass of a picture that is not interlaced.
const WHOLE: [[u32; 4]; 1] = [[0, 0, 1, 1]];

/// Shape of a picture and of its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The part of the picture that the data fill: left, top, width, height.
    pub(super) frame: [u32; 4],
    pub(super) interlaced: bool,
    pub(super) colour: ColourType,
}

/// The picture being filled.
pub(super) struct Rows {
    layout: Layout,
    /// Bytes per pixel in `samples`.
    pixel: usize,
    samples: Vec<u8>,
    passes: std::slice::Iter<'static, [u32; 4]>,
    pass: [u32; 4],
    y: u32,
    /// Filter byte and filtered bytes of this row, and the row before it.
    current: Vec<u8>,
    previous: Vec<u8>,
}

impl Rows {
    pub(super) fn new(layout: Layout) -> Result<Self, DecodeError> {
        // 16-bit grey keeps both bytes; all else becomes 8 bits, grey with alpha at 16 bits becoming RGBA as in Pillow.
        let pixel = match (layout.colour.kind, layout.colour.depth) {
            (Kind::Grey, 16) | (Kind::GreyAlpha, _) => 2,
            (Kind::Grey | Kind::Indexed, _) => 1,
            (Kind::Rgb, _) => 3,
            (Kind::Rgba, _) => 4,
        };
        let size = layout.width as usize * layout.height as usize * pixel;
        let mut layout = layout;
        if layout.interlaced {
            // Pillow does not move interlaced frames to their place.
            (layout.frame[0], layout.frame[1]) = (0, 0);
        }
        let passes = if layout.interlaced { PASSES.iter() } else { WHOLE.iter() };
        let mut rows = Self {
            layout,
            pixel,
            samples: vec![0; size],
            passes,
            pass: [0; 4],
            y: 0,
            current: Vec::new(),
            previous: Vec::new(),
        };
        if rows.next_pass() { Err(DecodeError::invalid(FORMAT, "no pixels")) } else { Ok(rows) }
    }

    /// Where the next row's filter byte and data belong.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.current
    }

    /// Takes in the row in the buffer; true when it was the last.
    pub(super) fn finish_row(&mut self) -> Result<bool, DecodeError> {
        let distance = self.layout.colour.bits_per_pixel().div_ceil(8);
        let (filter, row) = self.current.split_first_mut().expect("a row has a filter byte");
        unfilter(*filter, row, &self.previous[1..], distance)?;
        self.unpack();
        std::mem::swap(&mut self.current, &mut self.previous);
        self.y += self.pass[3];
        Ok(self.y >= self.layout.frame[3] && self.next_pass())
    }

    /// Goes to the next pass that has pixels; true when there is none.
    fn next_pass(&mut self) -> bool {
        let [_, _, width, height] = self.layout.frame;
        for &pass in self.passes.by_ref() {
            if pass[0] < width && pass[1] < height {
                let pixels = (width - pass[0]).div_ceil(pass[2]) as usize;
                let bytes = 1 + (pixels * self.layout.colour.bits_per_pixel()).div_ceil(8);
                self.current = vec![0; bytes];
                self.previous = vec![0; bytes];
                (self.pass, self.y) = (pass, pass[1]);
                return false;
            }
        }
        true
    }

    /// Spreads the unfiltered row over the picture.
    fn unpack(&mut self) {
        let [left, top, width, _] = self.layout.frame;
        let [start, _, step, _] = self.pass;
        let row = ((top + self.y) as usize * self.layout.width as usize + left as usize) * self.pixel;
        let out = &mut self.samples[row..row + width as usize * self.pixel];
        let data = &self.current[1..];
        let ColourType { depth, kind } = self.layout.colour;
        if depth == 8 && step == 1 {
            out.copy_from_slice(data);
            return;
        }
        let pixels = out.chunks_exact_mut(self.pixel).skip(start as usize).step_by(step as usize);
        match (kind, depth) {
            (Kind::Grey | Kind::Indexed, 1 | 2 | 4) => {
                let mask = (1u8 << depth) - 1;
                let scale = if kind == Kind::Grey { 255 / mask } else { 1 };
                for (index, pixel) in pixels.enumerate() {
                    let bit = index * usize::from(depth);
                    pixel[0] = (data[bit / 8] >> (8 - usize::from(depth) - bit % 8) & mask) * scale;
                }
            }
            // Big endian, kept whole.
            (Kind::Grey, 16) => {
                for (pixel, sample) in pixels.zip(data.chunks_exact(2)) {
                    pixel.copy_from_slice(sample);
                }
            }
            // The high bytes.
            (_, 16) => {
                for (pixel, samples) in pixels.zip(data.chunks_exact(self.pixel * 2)) {
                    for (value, sample) in pixel.iter_mut().zip(samples.chunks_exact(2)) {
                        *value = sample[0];
                    }
                }
            }
            _ => {
                for (pixel, samples) in pixels.zip(data.chunks_exact(self.pixel)) {
                    pixel.copy_from_slice(samples);
                }
            }
        }
    }

    pub(super) fn into_pixels(self) -> Pixels {
        match (self.layout.colour.kind, self.layout.colour.depth) {
            (Kind::Grey, 16) => Pixels::Grey16(
                self.samples.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
            ),
            (Kind::Grey, _) => Pixels::Grey(self.samples),
            (Kind::GreyAlpha, _) => Pixels::GreyAlpha(self.samples),
            (Kind::Rgb, _) => Pixels::Rgb(self.samples),
            (Kind::Rgba, _) => Pixels::Rgba(self.samples),
            (Kind::Indexed, _) => Pixels::Indexed(self.samples, Box::new([[0; 3]; 256])),
        }
    }
}

/// Undoes the filter of one row, `distance` bytes being a pixel.
fn unfilter(filter: u8, row: &mut [u8], above: &[u8], distance: usize) -> Result<(), DecodeError> {
    match filter {
        0 => {}
        1 => {
            for index in distance..row.len() {
                row[index] = row[index].wrapping_add(row[index - distance]);
            }
        }
        2 => {
            for (value, above) in row.iter_mut().zip(above) {
                *value = value.wrapping_add(*above);
            }
        }
        3 => {
            for index in 0..row.len() {
                let left = index.checked_sub(distance).map_or(0, |left| row[left]);
                let average = (u16::from(left) + u16::from(above[index])) / 2;
                row[index] = row[index].wrapping_add(average as u8);
            }
        }
        4 => match distance {
            1 => paeth::<1>(row, above),
            2 => paeth::<2>(row, above),
            3 => paeth::<3>(row, above),
            4 => paeth::<4>(row, above),
            6 => paeth::<6>(row, above),
            _ => paeth::<8>(row, above),
        },
        other => return Err(DecodeError::invalid(FORMAT, format!("unknown row filter {other}"))),
    }
    Ok(())
}

/// The Paeth filter, with the pixel's left and upper-left neighbours carried along.
fn paeth<const DISTANCE: usize>(row: &mut [u8], above: &[u8]) {
    let (mut left, mut corner) = ([0i16; DISTANCE], [0i16; DISTANCE]);
    for (row, above) in row.chunks_mut(DISTANCE).zip(above.chunks(DISTANCE)) {
        for (channel, (value, &up)) in row.iter_mut().zip(above).enumerate() {
            let (a, b, c) = (left[channel], i16::from(up), corner[channel]);
            let (pa, pb, pc) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
            let predicted = if pa <= pb && pa <= pc {
                a
            } else if pb <= pc {
                b
            } else {
                c
            };
            *value = value.wrapping_add(predicted as u8);
            left[channel] = i16::from(*value);
            corner[channel] = b;
        }
    }
}
