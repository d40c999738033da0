//! Pixels that become floats before they are resized, as `DINOv3ViTImageProcessor` does it on torchvision, bit for bit.
//!
//! The rules are those of torch 2.15.0 for contiguous float tensors (`aten/src/ATen/native/cpu/UpSampleKernel.cpp`, reached by
//! `torchvision.transforms.v2.functional.resize` with `antialias=True`): the horizontal pass first, weights in float32, and sums as
//! [`sum_lines`] has them.

use std::ops::Range;

use pillow_exact::{Canvas, Filter, Rows, Window};

use super::config::{Normalize, ProcessorConfig};
use super::geometry::Geometry;
use super::pixel_values::PixelValues;
use super::torchvision::nearest_positions;
use crate::kernels::{Isa, sum_lines};

const CHANNELS: usize = PixelValues::CHANNELS;
/// Rows that go through the horizontal pass side by side, so that it sums lines too.
const BAND: usize = 64;

/// The pixel values of a picture that passes through in this way. Padding is zero before the mean is taken off.
pub(super) fn process(config: &ProcessorConfig, picture: &Canvas<'_>, geometry: &Geometry) -> PixelValues {
    let factor = config.rescale.unwrap_or(1.0) as f32;
    let window = geometry.window();
    let visible = resize(picture, geometry.resized, config.resample, factor, &window);
    let (width, height) = (geometry.output.0 as usize, geometry.output.1 as usize);
    let place = geometry.placement();
    let (rows, columns) = (window.rows.len(), window.columns.len());
    let mut data = vec![0f32; CHANNELS * height * width];
    for (channel, plane) in data.chunks_exact_mut((height * width).max(1)).enumerate() {
        for row in 0..rows {
            let from = &visible[(channel * rows + row) * columns..][..columns];
            plane[(place.top + row) * width + place.left..][..columns].copy_from_slice(from);
        }
        if let Some(Normalize { mean, std }) = &config.normalize {
            let (mean, std) = (mean[channel] as f32, std[channel] as f32);
            plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
        }
    }
    PixelValues::new(height, width, data).expect("three planes of the output")
}

/// A picture times `factor`, resized to `size` (width, height); the part inside `window`, (3, rows, columns).
fn resize(picture: &Canvas<'_>, size: (u32, u32), filter: Filter, factor: f32, window: &Window) -> Vec<f32> {
    let (width, height) = size;
    if filter == Filter::Nearest {
        let x = nearest_positions(picture.width(), width, &window.columns);
        let y = nearest_positions(picture.height(), height, &window.rows);
        let pixel = |channel: usize, x, y| f32::from(picture.pixel(x, y).0[channel]) * factor;
        return (0..CHANNELS)
            .flat_map(|channel| {
                y.iter().flat_map({
                    let x = &x;
                    move |&y| x.iter().map(move |&x| pixel(channel, x, y))
                })
            })
            .collect();
    }
    let rows: Vec<Taps> = taps(picture.height(), height, filter, &window.rows);
    let columns: Vec<Taps> = taps(picture.width(), width, filter, &window.columns);
    let reach = reach(&rows);
    let middle = horizontal_pass(picture, reach.clone(), &columns, factor); // (3, reach, columns)
    let mut out = vec![0f32; CHANNELS * rows.len() * columns.len()];
    let planes = middle.chunks_exact((reach.len() * columns.len()).max(1));
    let lines = out.chunks_exact_mut((rows.len() * columns.len()).max(1)).zip(planes);
    for (out, plane) in lines {
        for (out, taps) in out.chunks_exact_mut(columns.len()).zip(&rows) {
            let first = (taps.start - reach.start) * columns.len();
            let lines = &plane[first..][..taps.weights.len() * columns.len()];
            sum_lines(Isa::best(), lines, &taps.weights, out);
        }
    }
    out
}

/// What an output position is made of: the first input, and the weights of it and of those after it.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

/// The input positions that are used at all.
fn reach(taps: &[Taps]) -> Range<usize> {
    let start = taps.iter().map(|taps| taps.start).min().unwrap_or(0);
    let end = taps.iter().map(|taps| taps.start + taps.weights.len()).max().unwrap_or(0);
    start..end
}

/// The taps of the output positions in `wanted`, when an edge of `input` pixels becomes one of `output`. Where torch's source
/// mixes floats with the literal 0.5, C++ computes in double and rounds afterwards.
fn taps(input: u32, output: u32, filter: Filter, wanted: &Range<u32>) -> Vec<Taps> {
    let scale = input as f32 / output as f32;
    let widening = f64::from(scale).max(1.0);
    let support = (filter.support() * widening) as f32;
    let inverse = f64::from((1.0 / widening) as f32);
    let of = |index: u32| {
        let center = (f64::from(scale) * (f64::from(index) + 0.5)) as f32;
        // `as` truncates towards zero, as C does.
        let start = ((f64::from(center - support) + 0.5) as i64).max(0);
        let end = ((f64::from(center + support) + 0.5) as i64).min(i64::from(input));
        let most = 2 * support.ceil() as i64 + 1;
        let distance = |position: i64| (f64::from(position as f32 - center) + 0.5) * inverse;
        let mut weights: Vec<f32> = (start..end.min(start + most))
            .map(|position| weight(filter, distance(position) as f32))
            .collect();
        let sum: f32 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        Taps { start: start as usize, weights }
    };
    wanted.clone().map(of).collect()
}

/// A filter's weight at a distance, in float32 with fused multiply-adds.
fn weight(filter: Filter, x: f32) -> f32 {
    let x = x.abs();
    match filter {
        Filter::Bicubic => {
            const A: f32 = -0.5;
            if x < 1.0 {
                (((A + 2.0).mul_add(x, -(A + 3.0))) * x).mul_add(x, 1.0)
            } else if x < 2.0 {
                A.mul_add(x, -5.0 * A).mul_add(x, 8.0 * A).mul_add(x, -4.0 * A)
            } else {
                0.0
            }
        }
        // The config lets no other through.
        _ => (1.0 - x).max(0.0),
    }
}

/// The given rows times `factor`, filtered along: (3, rows, taps).
fn horizontal_pass(picture: &Canvas<'_>, rows: Range<usize>, taps: &[Taps], factor: f32) -> Vec<f32> {
    let columns = reach(taps);
    let width = taps.len();
    let mut out = vec![0f32; CHANNELS * rows.len() * width];
    let mut lines = vec![0f32; columns.len() * BAND]; // one channel of a band, (columns, rows)
    let mut sums = [0f32; BAND];
    let mut composed = Vec::new();
    for first in rows.clone().step_by(BAND) {
        let count = BAND.min(rows.end - first);
        for channel in 0..CHANNELS {
            for row in 0..count {
                let pixels = picture.row(first + row, &columns, &mut composed);
                let pixels = pixels.iter().skip(channel).step_by(CHANNELS);
                for (line, &pixel) in lines.chunks_exact_mut(count).zip(pixels) {
                    line[row] = f32::from(pixel) * factor;
                }
            }
            for (place, taps) in taps.iter().enumerate() {
                let start = (taps.start - columns.start) * count;
                let lines = &lines[start..][..taps.weights.len() * count];
                sum_lines(Isa::best(), lines, &taps.weights, &mut sums[..count]);
                let top = channel * rows.len() + first - rows.start;
                for (row, &sum) in sums[..count].iter().enumerate() {
                    out[(top + row) * width + place] = sum;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{Rgb, RgbImage};

    const FILTERS: [Filter; 3] = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic];

    #[test]
    fn a_window_is_the_crop_of_the_whole() {
        let source = RgbImage::from_fn(61, 147, |x, y| Rgb([(x * 5) as u8, (y * 3) as u8, (x * y) as u8]));
        let window = Window { rows: 3..17, columns: 5..22 };
        for filter in FILTERS {
            for (width, height) in [(30, 23), (61, 20), (25, 147), (61, 147), (100, 190)] {
                let source = Canvas::bare(&source);
                let whole = resize(&source, (width, height), filter, 0.5, &Window::full(width, height));
                let part = resize(&source, (width, height), filter, 0.5, &window);
                let at = |channel: usize, row: usize, column: usize| {
                    whole[(channel * height as usize + row) * width as usize + column]
                };
                let mut found = part.iter();
                for channel in 0..CHANNELS {
                    for (row, column) in (3..17).flat_map(|row| (5..22).map(move |column| (row, column))) {
                        assert_eq!(
                            found.next(),
                            Some(&at(channel, row, column)),
                            "{filter:?} {width}x{height}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_size_is_the_picture_and_a_flat_one_stays_flat() {
        let source = RgbImage::from_fn(9, 70, |x, y| Rgb([x as u8, y as u8, 200]));
        for filter in FILTERS {
            let canvas = Canvas::bare(&source);
            let same = resize(&canvas, (9, 70), filter, 0.25, &Window::full(9, 70));
            for (index, &value) in same.iter().enumerate() {
                let (channel, row, column) = (index / 630, index % 630 / 9, index % 9);
                let pixel = source.get_pixel(column as u32, row as u32).0[channel];
                assert_eq!(value, f32::from(pixel) * 0.25);
            }
            let flat = resize(&canvas, (4, 31), filter, 0.25, &Window::full(4, 31));
            assert!(flat[2 * 4 * 31..].iter().all(|value| (value - 50.0).abs() < 1e-4), "{filter:?}");
        }
    }

    #[test]
    fn a_canvas_is_the_padded_picture() {
        let source = RgbImage::from_fn(13, 9, |x, y| Rgb([(x * 19) as u8, (y * 28) as u8, (x * y) as u8]));
        for (size, place) in [((13, 80), (0, 10)), ((40, 9), (13, 0)), ((29, 33), (5, 24))] {
            let mut padded = RgbImage::from_pixel(size.0, size.1, Rgb([90, 200, 7]));
            ::image::imageops::replace(&mut padded, &source, place.0.into(), place.1.into());
            let canvas = Canvas::new(&source, size, place, [90, 200, 7]);
            for filter in FILTERS {
                for (width, height) in [(30, 23), size, (7, 2), (size.0, 5), (50, 170)] {
                    let window = Window { rows: 1..height, columns: 2..width - 1 };
                    let ours = resize(&canvas, (width, height), filter, 0.5, &window);
                    let theirs = resize(&Canvas::bare(&padded), (width, height), filter, 0.5, &window);
                    assert_eq!(ours, theirs, "{filter:?} {size:?} -> {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn padding_is_zero_before_the_mean() {
        let config = ProcessorConfig { resize: None, crop: Some((4, 3)), ..ProcessorConfig::dinov3(224) };
        let picture = RgbImage::from_pixel(1, 2, Rgb([255, 0, 255]));
        let geometry = Geometry::new(&config, 1, 2).expect("a geometry");
        let values = process(&config, &Canvas::bare(&picture), &geometry);
        assert_eq!((values.height(), values.width()), (4, 3));
        let zero = (0.0 - 0.485f64 as f32) / 0.229f64 as f32;
        let one = (255.0 * (1.0f64 / 255.0) as f32 - 0.485f64 as f32) / 0.229f64 as f32;
        let row = [zero, one, zero];
        assert_eq!(values.as_slice()[..12], [[zero; 3], row, row, [zero; 3]].concat());
    }
}
