//! A picture on a canvas of one colour, of which the picture alone is in memory.

use std::ops::Range;

use ::image::{Rgb, RgbImage};

use super::kernel::CHANNELS;
use super::passes::Rows;

/// A picture and the canvas around it, which takes no memory however large it is.
#[derive(Clone, Copy, Debug)]
pub struct Canvas<'a> {
    picture: &'a RgbImage,
    /// Width and height, with the picture.
    size: (u32, u32),
    /// Left and top of the picture.
    place: (u32, u32),
    colour: [u8; CHANNELS],
}

impl<'a> Canvas<'a> {
    /// A picture without anything around it.
    pub fn bare(picture: &'a RgbImage) -> Self {
        Self { picture, size: picture.dimensions(), place: (0, 0), colour: [0; CHANNELS] }
    }

    /// A canvas of `size`, width and height, with a picture at `place`, left and top.
    ///
    /// # Panics
    /// When the picture reaches outside of the canvas.
    pub fn new(picture: &'a RgbImage, size: (u32, u32), place: (u32, u32), colour: [u8; CHANNELS]) -> Self {
        let fits = |place: u32, edge: u32, size: u32| u64::from(place) + u64::from(edge) <= u64::from(size);
        assert!(
            fits(place.0, picture.width(), size.0) && fits(place.1, picture.height(), size.1),
            "picture outside of the canvas"
        );
        Self { picture, size, place, colour }
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.size.0
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.size.1
    }

    /// The pixel at a column and a row.
    pub fn pixel(&self, x: u32, y: u32) -> Rgb<u8> {
        let inside = |at: u32, place: u32, edge: u32| at.checked_sub(place).filter(|&at| at < edge);
        let (width, height) = self.picture.dimensions();
        match (inside(x, self.place.0, width), inside(y, self.place.1, height)) {
            (Some(x), Some(y)) => *self.picture.get_pixel(x, y),
            _ => Rgb(self.colour),
        }
    }
}

impl Rows for Canvas<'_> {
    fn row<'s>(&'s self, row: usize, columns: &Range<usize>, composed: &'s mut Vec<u8>) -> &'s [u8] {
        let (left, width) = (self.place.0 as usize, self.picture.width() as usize);
        let bytes = |columns: Range<usize>| {
            let start = (row - self.place.1 as usize) * width;
            let columns = start + columns.start - left..start + columns.end - left;
            &self.picture.as_raw()[columns.start * CHANNELS..columns.end * CHANNELS]
        };
        let seen = columns.start.max(left)..columns.end.min(left + width);
        let is_blank = self.is_blank(row) || seen.is_empty();
        if !is_blank && seen == *columns {
            return bytes(seen);
        }
        *composed = self.colour.repeat(columns.len());
        if !is_blank {
            let start = (seen.start - columns.start) * CHANNELS;
            composed[start..start + seen.len() * CHANNELS].copy_from_slice(bytes(seen));
        }
        composed
    }

    fn is_blank(&self, row: usize) -> bool {
        let top = self.place.1 as usize;
        !(top..top + self.picture.height() as usize).contains(&row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_pixels_are_those_of_the_whole() {
        let picture = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 9]));
        for (size, place) in [((3, 2), (0, 0)), ((7, 2), (2, 0)), ((3, 5), (0, 3)), ((6, 6), (3, 1))] {
            let canvas = Canvas::new(&picture, size, place, [50, 60, 70]);
            let mut whole = RgbImage::from_pixel(size.0, size.1, Rgb([50, 60, 70]));
            ::image::imageops::replace(&mut whole, &picture, place.0.into(), place.1.into());
            let mut composed = Vec::new();
            for row in 0..size.1 {
                for (start, end) in
                    (0..size.0).flat_map(|start| (start..=size.0).map(move |end| (start, end)))
                {
                    let expected: Vec<u8> = (start..end).flat_map(|x| whole.get_pixel(x, row).0).collect();
                    let found = canvas.row(row as usize, &(start as usize..end as usize), &mut composed);
                    assert_eq!(found, expected, "{size:?} {place:?} {row} {start} {end}");
                }
                for x in 0..size.0 {
                    assert_eq!(canvas.pixel(x, row), *whole.get_pixel(x, row));
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside of the canvas")]
    fn a_picture_lies_on_its_canvas() {
        let _ = Canvas::new(&RgbImage::new(3, 3), (5, 5), (3, 0), [0; 3]);
    }
}
