//! A picture, or what patches show of it, in another size.

use image::{Rgb, RgbImage};
use pillow_exact::{Filter, Window, resize};

use super::Subject;

/// Pixels of a picture that are kept for a figure.
const MOST_PIXELS: f64 = 2e6;

/// A picture as it is kept for a figure: with at most two million pixels, so that many can wait.
#[must_use]
pub fn reduced(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let scale = (MOST_PIXELS / (f64::from(width) * f64::from(height))).sqrt();
    if scale >= 1.0 {
        return picture;
    }
    let edge = |edge: u32| ((f64::from(edge) * scale) as u32).max(1);
    resized(&picture, edge(width), edge(height))
}

/// The longer edge of a whole picture in a figure is within these; one that is smaller is shown by whole multiples.
const EDGES: [u32; 2] = [320, 768];

/// The whole picture in the size in which a figure shows it.
pub(super) fn whole(subject: Subject<'_>) -> RgbImage {
    let (width, height) = subject.size;
    let longer = width.max(height);
    let edge = |edge: u32| match longer {
        _ if longer > EDGES[1] => {
            (f64::from(edge) * f64::from(EDGES[1]) / f64::from(longer)).round().max(1.0) as u32
        }
        _ => edge * EDGES[0].div_ceil(longer).max(1),
    };
    resized(subject.picture, edge(width), edge(height))
}

/// What the patches show, with a longer edge of `edge` pixels; beyond the picture it is light.
pub(super) fn crop(subject: Subject<'_>, edge: u32) -> RgbImage {
    let [left, top, right, bottom] = subject.geometry.grid_box(subject.patch_size).edges();
    let scale = f64::from(edge) / (right - left).max(bottom - top);
    let pixels = |length: f64| (length * scale).round();
    let (width, height) = (pixels(right - left).max(1.0) as u32, pixels(bottom - top).max(1.0) as u32);
    // The picture in the same scale, of which the window is what lies within the crop.
    let full = [subject.size.0, subject.size.1].map(|edge| pixels(f64::from(edge)).max(1.0) as u32);
    let span = |start: f64, length: u32, full: u32| {
        let start = pixels(start) as i64;
        let inside = |position: i64| position.clamp(0, full.into()) as u32;
        (start, inside(start)..inside(start + i64::from(length)))
    };
    let (x, columns) = span(left, width, full[0]);
    let (y, rows) = span(top, height, full[1]);
    let mut shown = RgbImage::from_pixel(width, height, Rgb([225; 3]));
    if !rows.is_empty() && !columns.is_empty() {
        let place = (i64::from(columns.start) - x, i64::from(rows.start) - y);
        let part = resize(subject.picture, full[0], full[1], Filter::Bicubic, &Window { rows, columns });
        image::imageops::replace(&mut shown, &part, place.0, place.1);
    }
    shown
}

/// A pixel's lightness alone, so that the picture's colours are not taken for those that are laid over it: ITU-R BT.601's weights.
pub(super) fn grey(pixel: [u8; 3]) -> [u8; 3] {
    let [red, green, blue] = pixel.map(u32::from);
    [((red * 299 + green * 587 + blue * 114) / 1000) as u8; 3]
}

fn resized(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    resize(picture, width, height, Filter::Bicubic, &Window::full(width, height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Fit, Processor, ProcessorConfig};

    #[test]
    fn large_pictures_are_kept_small() {
        let kept = reduced(RgbImage::new(6000, 1000));
        assert_eq!(kept.dimensions(), (3464, 577));
        assert_eq!(reduced(RgbImage::new(30, 20)).dimensions(), (30, 20));
    }

    #[test]
    fn a_crop_shows_the_middle_whatever_the_copys_size() {
        // Three bands, of which the patches show the middle one.
        let bands =
            |width: u32| RgbImage::from_fn(3 * width, width, |x, _| Rgb([(x / width * 100) as u8; 3]));
        let geometry = Processor::clip(8).geometry(90, 30).unwrap();
        for copy in [30, 10] {
            let picture = bands(copy);
            let subject = Subject { picture: &picture, size: (90, 30), geometry: &geometry, patch_size: 4 };
            let shown = crop(subject, 60);
            assert_eq!(shown.dimensions(), (60, 60));
            assert!(
                shown
                    .enumerate_pixels()
                    .all(|(x, _, pixel)| { !(12..48).contains(&x) || pixel.0 == [100; 3] })
            );
            assert_eq!(whole(subject).dimensions(), (360, 120));
        }
    }

    #[test]
    fn where_the_processor_padded_there_is_no_picture() {
        let processor = Processor::new(ProcessorConfig::clip(8).fitted(Fit::Pad, None).unwrap());
        let geometry = processor.geometry(40, 20).unwrap();
        let picture = RgbImage::new(40, 20);
        let subject = Subject { picture: &picture, size: (40, 20), geometry: &geometry, patch_size: 4 };
        let shown = crop(subject, 80);
        assert_eq!((shown.get_pixel(40, 10).0, shown.get_pixel(40, 40).0), ([225; 3], [0; 3]));
    }
}
