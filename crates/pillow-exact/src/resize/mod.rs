//! Pillow's resize of 8-bit RGB pictures, bit for bit, computing only the part of the result that is wanted.
//!
//! The rules are those of Pillow 13.0.0: two separable passes with coefficients in 22-bit fixed point, the result of the first
//! rounded to 8 bits; for nearest, steps through the source. The horizontal pass comes first unless the height shrinks by much
//! more than the width.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
mod canvas;
mod filter;
mod kernel;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod passes;
mod taps;

use std::ops::Range;

use ::image::RgbImage;

pub use canvas::Canvas;
pub use filter::Filter;
pub use passes::{Rows, filter as filter_passes};
pub use taps::Taps;

use crate::window::Window;
/// Resizes `source` to `width` × `height` and returns the part of the result inside `window`.
///
/// The result is the same, pixel for pixel, as resizing everything and cropping afterwards.
///
/// # Panics
/// When `window` reaches outside `width` × `height`, or `source` is empty.
pub fn resize(source: &RgbImage, width: u32, height: u32, filter: Filter, window: &Window) -> RgbImage {
    resize_canvas(&Canvas::bare(source), width, height, filter, window)
}

/// The same of a picture on a canvas, which is resized as a whole.
///
/// # Panics
/// When `window` reaches outside `width` × `height`, or `source` is empty.
pub fn resize_canvas(
    source: &Canvas<'_>,
    width: u32,
    height: u32,
    filter: Filter,
    window: &Window,
) -> RgbImage {
    assert!(
        window.columns.end <= width && window.rows.end <= height,
        "window outside of the resized picture"
    );
    assert!(source.width() > 0 && source.height() > 0, "empty source picture");
    if filter == Filter::Nearest {
        return nearest(source, width, height, window);
    }

    // A pass over an edge whose length does not change is skipped, not computed.
    let columns =
        (source.width() != width).then(|| Taps::pillow(source.width(), width, filter, &window.columns));
    let rows =
        (source.height() != height).then(|| Taps::pillow(source.height(), height, filter, &window.rows));
    let range = |range: &Range<u32>| range.start as usize..range.end as usize;
    let wanted = (range(&window.columns), range(&window.rows));
    let vertical_first = vertical_first(source, width, height);
    let out = passes::filter(source, (columns.as_ref(), rows.as_ref()), wanted, vertical_first);
    RgbImage::from_raw(window.columns.len() as u32, window.rows.len() as u32, out)
        .expect("the passes fill the window")
}

/// The part of a picture of `source`, width and height, that [`resize`] reads for the part inside `window` of the result of `size`.
pub fn reads(source: (u32, u32), size: (u32, u32), filter: Filter, window: &Window) -> Window {
    let along = |input: u32, output: u32, wanted: &Range<u32>| {
        if input == output || wanted.is_empty() {
            return wanted.clone();
        }
        if filter == Filter::Nearest {
            // Where accumulated errors lead to is not worth finding out.
            return 0..input;
        }
        let first = taps::inputs(input, output, filter, wanted.start).1;
        let last = taps::inputs(input, output, filter, wanted.end - 1).1;
        first.start as u32..last.end.max(first.start) as u32
    };
    Window { rows: along(source.1, size.1, &window.rows), columns: along(source.0, size.0, &window.columns) }
}

/// Whether the vertical pass comes first: where the height shrinks by more than twice as many pixels as the width, which
/// makes the horizontal pass cheaper (Pillow 13.0.0, src/libImaging/Resample.c, `ImagingResampleInner`).
fn vertical_first(source: &Canvas<'_>, width: u32, height: u32) -> bool {
    let shrinks_by = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let rows = shrinks_by(source.height(), height);
    rows > 0 && rows > 2 * shrinks_by(source.width(), width)
}

/// Nearest neighbour. Pillow steps through the source by repeated addition, so its rounding errors accumulate; so do ours.
fn nearest(source: &Canvas<'_>, width: u32, height: u32, window: &Window) -> RgbImage {
    let columns = nearest_positions(source.width(), width, &window.columns);
    let rows = nearest_positions(source.height(), height, &window.rows);
    RgbImage::from_fn(window.columns.len() as u32, window.rows.len() as u32, |x, y| {
        match (columns[x as usize], rows[y as usize]) {
            (Some(x), Some(y)) => source.pixel(x, y),
            _ => ::image::Rgb([0; 3]),
        }
    })
}

/// The source index of each wanted output index; none where accumulated error has led past the edge.
fn nearest_positions(input: u32, output: u32, wanted: &Range<u32>) -> Vec<Option<u32>> {
    if input == output {
        return wanted.clone().map(Some).collect();
    }
    let step = f64::from(input) / f64::from(output);
    let mut position = step * 0.5;
    let mut positions = Vec::with_capacity(wanted.len());
    for index in 0..wanted.end {
        if index >= wanted.start {
            let found = position as u32;
            positions.push((found < input).then_some(found));
        }
        position += step;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [Filter; 6] =
        [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];

    /// A picture with edges, gradients and noise, different in each channel.
    fn picture(width: u32, height: u32) -> RgbImage {
        let mut state = 12345u32;
        RgbImage::from_fn(width, height, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 24) as u8;
            let edge = if (x / 3 + y / 5) % 2 == 0 { 255 } else { 0 };
            ::image::Rgb([noise, edge, (x * 7 + y * 3) as u8])
        })
    }

    /// The same rules written the long way round: one pixel at a time, no window, no skipped work.
    fn plain(source: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
        fn pass(source: &RgbImage, output: u32, filter: Filter) -> RgbImage {
            let input = source.width();
            if input == output {
                return source.clone();
            }
            let scale = f64::from(input) / f64::from(output);
            let fs = if scale < 1.0 { 1.0 } else { scale };
            RgbImage::from_fn(output, source.height(), |x, y| {
                let center = (f64::from(x) + 0.5) * scale;
                let lo = ((center - filter.support() * fs + 0.5) as i64).max(0);
                let hi = ((center + filter.support() * fs + 0.5) as i64).min(i64::from(input));
                let total: f64 =
                    (lo..hi).map(|j| filter.weight((j as f64 - center + 0.5) * (1.0 / fs))).sum();
                let mut rgb = [1i64 << 21; 3];
                for j in lo..hi {
                    let weight = filter.weight((j as f64 - center + 0.5) * (1.0 / fs)) / total;
                    let fixed = (weight * 4_194_304.0).round() as i64;
                    for (sum, &value) in rgb.iter_mut().zip(&source.get_pixel(j as u32, y).0) {
                        *sum += fixed * i64::from(value);
                    }
                }
                ::image::Rgb(rgb.map(|sum| (sum >> 22).clamp(0, 255) as u8))
            })
        }
        fn transposed(image: &RgbImage) -> RgbImage {
            RgbImage::from_fn(image.height(), image.width(), |x, y| *image.get_pixel(y, x))
        }
        if filter == Filter::Nearest {
            // By repeated addition: one rounding per step, so not the same as a product.
            let at = |index: u32, input: u32, output: u32| {
                let step = f64::from(input) / f64::from(output);
                (0..index).fold(step * 0.5, |position, _| position + step) as u32
            };
            return RgbImage::from_fn(width, height, |x, y| {
                *source.get_pixel(at(x, source.width(), width), at(y, source.height(), height))
            });
        }
        let rows = i64::from(source.height()) - i64::from(height);
        if rows > 0 && rows > 2 * (i64::from(source.width()) - i64::from(width)) {
            return pass(&transposed(&pass(&transposed(source), height, filter)), width, filter);
        }
        transposed(&pass(&transposed(&pass(source, width, filter)), height, filter))
    }

    #[test]
    fn every_filter_agrees_with_the_plain_version() {
        for (sw, sh, dw, dh) in [
            (37, 23, 16, 16),
            (16, 16, 37, 23),
            (50, 9, 7, 9),
            (9, 50, 9, 7),
            (5, 7, 5, 7),
            (1, 1, 4, 3),
            (64, 1, 3, 5),
        ] {
            let source = picture(sw, sh);
            for filter in FILTERS {
                let ours = resize(&source, dw, dh, filter, &Window::full(dw, dh));
                assert_eq!(ours, plain(&source, dw, dh, filter), "{filter:?} {sw}x{sh} -> {dw}x{dh}");
            }
        }
    }

    #[test]
    fn nothing_is_read_beside_what_is_said_to_be() {
        let source = picture(61, 47);
        for filter in FILTERS {
            for (width, height) in [(30, 23), (61, 20), (25, 47), (61, 47), (100, 90), (59, 19), (9, 5)] {
                for (rows, columns) in [(3..4, 5..9), (0..height, 2..4), (1..height - 1, width - 1..width)] {
                    let window = Window { rows, columns };
                    let read = reads((61, 47), (width, height), filter, &window);
                    let mut other = RgbImage::from_pixel(61, 47, ::image::Rgb([1, 2, 3]));
                    for (y, x) in read.rows.flat_map(|y| read.columns.clone().map(move |x| (y, x))) {
                        other.put_pixel(x, y, *source.get_pixel(x, y));
                    }
                    let expected = resize(&source, width, height, filter, &window);
                    let found = resize(&other, width, height, filter, &window);
                    assert_eq!(found, expected, "{filter:?} {width}x{height} {window:?}");
                }
            }
        }
    }

    #[test]
    fn a_window_is_the_crop_of_the_whole() {
        let source = picture(61, 47);
        let window = Window { rows: 3..17, columns: 5..22 };
        for filter in FILTERS {
            for (width, height) in [(30, 23), (61, 20), (25, 47), (61, 47), (100, 90), (59, 19)] {
                let whole = resize(&source, width, height, filter, &Window::full(width, height));
                let part = resize(&source, width, height, filter, &window);
                let cropped = ::image::imageops::crop_imm(&whole, 5, 3, 17, 14).to_image();
                assert_eq!(part, cropped, "{filter:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn a_canvas_is_the_padded_picture() {
        let source = picture(13, 9);
        for (size, place) in [((13, 30), (0, 10)), ((40, 9), (13, 0)), ((29, 33), (5, 24))] {
            let mut padded = RgbImage::from_pixel(size.0, size.1, ::image::Rgb([90, 200, 7]));
            ::image::imageops::replace(&mut padded, &source, place.0.into(), place.1.into());
            let canvas = Canvas::new(&source, size, place, [90, 200, 7]);
            for filter in FILTERS {
                for (width, height) in [(30, 23), (13, 9), size, (7, 2), (size.0, 5), (5, size.1), (50, 70)] {
                    let window = Window { rows: 1..height, columns: 2..width - 1 };
                    let ours = resize_canvas(&canvas, width, height, filter, &window);
                    let theirs = resize(&padded, width, height, filter, &window);
                    assert_eq!(ours, theirs, "{filter:?} {size:?} -> {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        for value in [0u8, 1, 127, 128, 254, 255] {
            let source = RgbImage::from_pixel(19, 31, ::image::Rgb([value; 3]));
            for filter in FILTERS {
                let out = resize(&source, 8, 77, filter, &Window::full(8, 77));
                assert!(out.as_raw().iter().all(|&v| v == value), "{filter:?} {value}");
            }
        }
    }
}
