//! A sheet of paper: boxes, pictures and text on white.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// A colour, each band from 0 to 255.
pub(super) type Colour = [f32; 3];

const PAPER: Colour = [255.0; 3];
const INK: Colour = [38.0, 38.0, 38.0];

/// The size of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text(RasterHeight);

impl Text {
    /// Text that is read well beside a panel with this longer edge.
    pub(super) fn beside(edge: u32) -> Self {
        Self(if edge < 640 { RasterHeight::Size16 } else { RasterHeight::Size20 })
    }

    /// Height of a line in pixels.
    pub(super) fn height(self) -> u32 {
        self.0.val() as u32
    }

    /// Pixels around what stands beside such text.
    pub(super) fn margin(self) -> u32 {
        self.height() / 2
    }

    /// Width of a text in pixels.
    pub(super) fn width(self, text: &str) -> u32 {
        (get_raster_width(FontWeight::Regular, self.0) * text.chars().count()) as u32
    }

    /// A text in lines of at most `width` pixels, broken between words where it can be.
    fn wrapped(self, text: &str, width: u32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if self.width(line) + self.width(" ") + self.width(word) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

/// What is drawn on. What does not fit is cut off.
#[derive(Debug)]
pub(super) struct Canvas(RgbImage);

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb(PAPER.map(|band| band as u8))))
    }

    /// A sheet for what is `height` high, with margins around it and a caption below.
    pub(super) fn with_caption(width: u32, height: u32, caption: &str, size: Text) -> Self {
        let margin = size.margin();
        let lines = size.wrapped(caption, width - 2 * margin);
        let mut canvas = Self::new(width, height + 3 * margin + lines.len() as u32 * size.height());
        for (line, top) in lines.iter().zip((height + 2 * margin..).step_by(size.height() as usize)) {
            canvas.write(line, size, margin, top);
        }
        canvas
    }

    pub(super) fn finished(self) -> RgbImage {
        self.0
    }

    /// Puts a picture with its left upper corner at `(left, top)`.
    pub(super) fn paste(&mut self, picture: &RgbImage, left: u32, top: u32) {
        image::imageops::replace(&mut self.0, picture, left.into(), top.into());
    }

    /// Lays a colour over a pixel; `cover` is 1 where nothing shines through.
    pub(super) fn blend(&mut self, x: u32, y: u32, colour: Colour, cover: f32) {
        if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
            pixel.0 = blended(pixel.0, colour, cover);
        }
    }

    /// Writes a line of text with its left upper corner at `(left, top)`.
    pub(super) fn write(&mut self, text: &str, size: Text, left: u32, top: u32) {
        let glyph = |character| get_raster(character, FontWeight::Regular, size.0);
        let mut pen = left;
        for character in text.chars() {
            let Some(raster) = glyph(character).or_else(|| glyph('?')) else { continue };
            for (y, row) in (top..).zip(raster.rows()) {
                for (x, &ink) in (pen..).zip(row) {
                    self.blend(x, y, INK, f32::from(ink) / 255.0);
                }
            }
            pen += raster.width() as u32;
        }
    }
}

/// A colour laid over a pixel.
pub(super) fn blended(pixel: [u8; 3], colour: Colour, cover: f32) -> [u8; 3] {
    std::array::from_fn(|band| (f32::from(pixel[band]) * (1.0 - cover) + colour[band] * cover).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_ink_on_paper_and_stays_on_the_sheet() {
        let size = Text::beside(100);
        let mut canvas = Canvas::new(40, 16);
        canvas.write("il", size, 0, 0);
        canvas.write("off the sheet", size, 30, 9);
        let drawn = canvas.finished();
        assert!(
            drawn.pixels().any(|pixel| pixel.0[0] < 80) && drawn.pixels().any(|pixel| pixel.0 == [255; 3])
        );
        assert_eq!(drawn.get_pixel(29, 15).0, [255; 3]);
    }

    #[test]
    fn lines_are_broken_between_words() {
        let size = Text::beside(100);
        let width = size.width("one two");
        assert_eq!(size.wrapped("one two three four", width), ["one two", "three", "four"]);
        assert_eq!(size.wrapped("unbreakable", 10), ["unbreakable"]);
    }
}
