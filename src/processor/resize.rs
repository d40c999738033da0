//! Pillow's resize of 8-bit RGB pictures, bit for bit, computing only the part of the result that is wanted.
//!
//! The rules are those of Pillow 13.0.0 (`ImagingResample` and, for nearest, the affine scaling path): two separable passes with
//! coefficients in 22-bit fixed point, the horizontal one first, its result rounded to 8 bits.

use std::ops::Range;

use ::image::RgbImage;

use super::filter::Filter;

/// Bits behind the point of a fixed-point coefficient: 32, less 8 for the pixel and 2 for overshoot of negative lobes.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// A rectangle of the resized picture, in its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows of the resized picture that are wanted.
    pub rows: Range<u32>,
    /// Columns of the resized picture that are wanted.
    pub columns: Range<u32>,
}

impl Window {
    /// The whole of a picture.
    pub fn full(width: u32, height: u32) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }
}

/// What one output pixel of a pass is made of: `weights` applied to the input from `start` on.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes `source` to `width` × `height` and returns the part of the result inside `window`.
///
/// The result is the same, pixel for pixel, as resizing everything and cropping afterwards.
///
/// # Panics
/// When `window` reaches outside `width` × `height`, or `source` is empty.
pub fn resize(source: &RgbImage, width: u32, height: u32, filter: Filter, window: &Window) -> RgbImage {
    assert!(
        window.columns.end <= width && window.rows.end <= height,
        "window outside of the resized picture"
    );
    assert!(source.width() > 0 && source.height() > 0, "empty source picture");
    if filter == Filter::Nearest {
        return nearest(source, width, height, window);
    }

    // A pass over an edge whose length does not change is skipped, not computed.
    let horizontal = (source.width() != width).then(|| taps(source.width(), width, filter, &window.columns));
    let vertical = (source.height() != height).then(|| taps(source.height(), height, filter, &window.rows));

    let source_rows = match &vertical {
        Some(taps) => {
            let first = taps.iter().map(|tap| tap.start).min().unwrap_or(0);
            let last = taps.iter().map(|tap| tap.start + tap.weights.len()).max().unwrap_or(0);
            first..last
        }
        None => window.rows.start as usize..window.rows.end as usize,
    };

    let out_width = window.columns.len();
    let stride = source.width() as usize * 3;
    let pixels: &[u8] = source.as_raw();
    let mut middle = Vec::with_capacity(source_rows.len() * out_width * 3);
    for y in source_rows.clone() {
        let row = &pixels[y * stride..(y + 1) * stride];
        match &horizontal {
            Some(taps) => horizontal_pass(row, taps, &mut middle),
            None => middle
                .extend_from_slice(&row[window.columns.start as usize * 3..window.columns.end as usize * 3]),
        }
    }

    let out = match &vertical {
        Some(taps) => vertical_pass(&middle, out_width * 3, source_rows.start, taps),
        None => middle,
    };
    RgbImage::from_raw(out_width as u32, window.rows.len() as u32, out).expect("both passes fill the window")
}

/// The taps of every output index in `wanted`, when an edge of `input` pixels becomes one of `output`.
fn taps(input: u32, output: u32, filter: Filter, wanted: &Range<u32>) -> Vec<Taps> {
    let scale = f64::from(input) / f64::from(output);
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    let inverse = 1.0 / filter_scale;
    let mut weights = Vec::new();
    wanted
        .clone()
        .map(|index| {
            let center = (f64::from(index) + 0.5) * scale;
            // `as` truncates towards zero, as C does.
            let start = ((center - support + 0.5) as i64).max(0);
            let end = ((center + support + 0.5) as i64).min(i64::from(input));
            weights.clear();
            weights.extend((start..end).map(|x| filter.weight((x as f64 - center + 0.5) * inverse)));
            let sum: f64 = weights.iter().sum();
            let fixed = weights.iter().map(|&weight| {
                let weight = if sum == 0.0 { weight } else { weight / sum };
                let scaled = weight * f64::from(1 << PRECISION_BITS);
                (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
            });
            Taps { start: start as usize, weights: fixed.collect() }
        })
        .collect()
}

/// Rounds a fixed-point sum, begun at one half, to a pixel.
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Appends to `out` the filtered pixels of one row.
fn horizontal_pass(row: &[u8], taps: &[Taps], out: &mut Vec<u8>) {
    for tap in taps {
        let mut sums = [1i32 << (PRECISION_BITS - 1); 3];
        let window = &row[tap.start * 3..(tap.start + tap.weights.len()) * 3];
        for (pixel, &weight) in window.chunks_exact(3).zip(&tap.weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        out.extend(sums.map(clip8));
    }
}

/// Filters columns of `middle`, whose first row is row `first` of the source and whose rows are `stride` bytes long.
fn vertical_pass(middle: &[u8], stride: usize, first: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(taps.len() * stride);
    let mut sums = vec![0i32; stride];
    for tap in taps {
        sums.fill(1 << (PRECISION_BITS - 1));
        let rows = middle[(tap.start - first) * stride..].chunks_exact(stride.max(1));
        for (row, &weight) in rows.zip(&tap.weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        out.extend(sums.iter().map(|&sum| clip8(sum)));
    }
    out
}

/// Nearest neighbour. Pillow steps through the source by repeated addition, so its rounding errors accumulate; so do ours.
fn nearest(source: &RgbImage, width: u32, height: u32, window: &Window) -> RgbImage {
    let columns = nearest_positions(source.width(), width, &window.columns);
    let rows = nearest_positions(source.height(), height, &window.rows);
    RgbImage::from_fn(window.columns.len() as u32, window.rows.len() as u32, |x, y| {
        match (columns[x as usize], rows[y as usize]) {
            (Some(x), Some(y)) => *source.get_pixel(x, y),
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
            let at = |index: u32, input: u32, output: u32| {
                ((f64::from(index) + 0.5) * f64::from(input) / f64::from(output)) as u32
            };
            return RgbImage::from_fn(width, height, |x, y| {
                *source.get_pixel(at(x, source.width(), width), at(y, source.height(), height))
            });
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
    fn a_window_is_the_crop_of_the_whole() {
        let source = picture(61, 47);
        let window = Window { rows: 3..17, columns: 5..22 };
        for filter in FILTERS {
            for (width, height) in [(30, 23), (61, 20), (25, 47), (61, 47), (100, 90)] {
                let whole = resize(&source, width, height, filter, &Window::full(width, height));
                let part = resize(&source, width, height, filter, &window);
                let cropped = ::image::imageops::crop_imm(&whole, 5, 3, 17, 14).to_image();
                assert_eq!(part, cropped, "{filter:?} {width}x{height}");
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
