//! From a tile's samples to the bands of Pillow's picture (the unpackers of `Jpeg2KDecode.c`).

use super::header::Mode;
use super::openjpeg::{Component, Tile};

/// The picture that tiles are put on. What no tile covers is zero.
pub(super) struct Canvas {
    width: usize,
    bands: usize,
    /// Row by row, the bands in turn; none in a picture of 16 bits.
    pub(super) samples: Vec<u8>,
    /// The samples of a picture of 16 bits.
    pub(super) wide: Vec<u16>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize, mode: Mode) -> Self {
        let bands = mode.bands();
        let count = width * height * bands;
        let (samples, wide) =
            if mode == Mode::Grey16 { (Vec::new(), vec![0; count]) } else { (vec![0; count], Vec::new()) };
        Self { width, bands, samples, wide }
    }

    pub(super) fn put(&mut self, tile: &Tile, components: &[Component]) {
        let mut data = &tile.data[..];
        for (band, component) in components.iter().enumerate() {
            let place = Place { width: self.width, bands: self.bands, band };
            if self.wide.is_empty() {
                place.put(&mut self.samples, tile, data, component, |word| scaled(word, component, 8) as u8);
            } else {
                place.put(&mut self.wide, tile, data, component, |word| scaled(word, component, 16) as u16);
            }
            // Pillow rounds the edges of what is subsampled down, where OpenJPEG rounds them up.
            let (columns, rows) = (tile.width / component.dx as usize, tile.height / component.dy as usize);
            data = &data[component.size() * columns * rows..];
        }
    }

    /// Makes RGB of a tile's YCbCr (`ImagingConvertYCbCr2RGB`).
    pub(super) fn convert(&mut self, tile: &Tile) {
        let (left, top) = tile.place;
        let rows = self.samples.chunks_exact_mut(self.width * self.bands).skip(top).take(tile.height);
        for row in rows {
            let pixels = row[left * self.bands..].chunks_exact_mut(self.bands).take(tile.width);
            pixels.for_each(|pixel| {
                let [red, green, blue] = rgb(pixel[0], pixel[1], pixel[2]);
                (pixel[0], pixel[1], pixel[2]) = (red, green, blue);
            });
        }
    }
}

/// Where a component's samples go.
struct Place {
    width: usize,
    bands: usize,
    band: usize,
}

impl Place {
    fn put<T>(
        &self,
        samples: &mut [T],
        tile: &Tile,
        data: &[u8],
        component: &Component,
        value: impl Fn(u32) -> T,
    ) {
        match component.size() {
            1 => self.put_words(samples, tile, data, component, |&[byte]: &[u8; 1]| value(byte.into())),
            2 => self.put_words(samples, tile, data, component, |&word: &[u8; 2]| {
                value(u16::from_ne_bytes(word).into())
            }),
            _ => self.put_words(samples, tile, data, component, |&word| value(u32::from_ne_bytes(word))),
        }
    }

    fn put_words<T, const SIZE: usize>(
        &self,
        samples: &mut [T],
        tile: &Tile,
        data: &[u8],
        component: &Component,
        value: impl Fn(&[u8; SIZE]) -> T,
    ) {
        let words = data.as_chunks::<SIZE>().0;
        let (dx, dy) = (component.dx as usize, component.dy as usize);
        let rows = samples.chunks_exact_mut(self.width * self.bands).skip(tile.place.1).take(tile.height);
        for (y, row) in rows.enumerate() {
            let words = &words[y / dy * (tile.width / dx)..];
            let to = row[tile.place.0 * self.bands..].iter_mut().skip(self.band).step_by(self.bands);
            if dx == 1 {
                to.zip(&words[..tile.width]).for_each(|(to, word)| *to = value(word));
            } else {
                to.take(tile.width).enumerate().for_each(|(x, to)| *to = value(&words[x / dx]));
            }
        }
    }
}

/// A sample in `bits` bits, of which the caller keeps the lowest: Pillow lets what rounds up beyond them wrap around.
fn scaled(word: u32, component: &Component, bits: u32) -> u32 {
    let half = |bits: u32| 1 << (bits - 1);
    let offset: u32 = if component.is_signed { half(component.precision) } else { 0 };
    match component.precision.checked_sub(bits) {
        Some(0) => word.wrapping_add(offset),
        Some(excess) => word.wrapping_add(offset + half(excess)) >> excess,
        None => word.wrapping_add(offset) << (bits - component.precision),
    }
}

/// Pillow's factors in 6 bits, each product rounded half up in its absolute value's direction, as its tables are.
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let part = |factor: f64, chroma: u8| (factor * (f64::from(chroma) - 128.0) * 64.0 + 0.5) as i32;
    let (luma, red_part, blue_part) = (i32::from(luma), part(1.402, red), part(1.772, blue));
    let green_part = part(-0.34414, blue) + part(-0.71414, red);
    [red_part, green_part, blue_part].map(|part| (luma + (part >> 6)).clamp(0, 255) as u8)
}
