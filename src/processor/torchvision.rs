//! torchvision's resize of 8-bit RGB pictures on a CPU with AVX2, bit for bit, computing only the part that is wanted.
//!
//! The rules are those of torch 2.15.0 (`aten/src/ATen/native/cpu/UpSampleKernel.cpp` and `UpSampleKernelAVXAntialias.h`, reached by
//! `torchvision.transforms.v2.functional.resize` with `antialias=True`): Pillow's filters and ranges, but the horizontal pass always
//! comes first, and weights are 16-bit integers with as many fractional bits as the largest weight of the edge leaves room for.

use std::ops::Range;

use ::image::RgbImage;
use pillow_exact::{Canvas, Filter, Window, filter_passes};

/// The most fractional bits of a weight.
const MAX_SHIFT: u32 = 22;
/// A weight that decides on the bits: one fewer is for twice as much, which no filter has, not even where the edge of a picture cuts
/// its negative lobes off. An edge that grows has it at its very start, so that a line of millions of pixels takes no time.
const DECISIVE: f64 = 1.0;

/// Resizes `source` to `width` × `height` and returns the part of the result inside `window`, which lies within.
pub(super) fn resize(
    source: &Canvas<'_>,
    width: u32,
    height: u32,
    filter: Filter,
    window: &Window,
) -> RgbImage {
    if filter == Filter::Nearest {
        let x = nearest_positions(source.width(), width, &window.columns);
        let y = nearest_positions(source.height(), height, &window.rows);
        return RgbImage::from_fn(x.len() as u32, y.len() as u32, |column, row| {
            source.pixel(x[column as usize], y[row as usize])
        });
    }
    // An edge whose length does not change is left as it is.
    let rows = (source.height() != height).then(|| Taps::new(source.height(), height, filter, &window.rows));
    let columns =
        (source.width() != width).then(|| Taps::new(source.width(), width, filter, &window.columns));
    let taps = (columns.as_ref().map(Taps::fixed), rows.as_ref().map(Taps::fixed));
    let range = |range: &Range<u32>| range.start as usize..range.end as usize;
    let wanted = (range(&window.columns), range(&window.rows));
    let pixels = filter_passes(source, (taps.0.as_ref(), taps.1.as_ref()), wanted, false);
    RgbImage::from_raw(window.columns.len() as u32, window.rows.len() as u32, pixels)
        .expect("the passes fill the window")
}

/// The source index of each wanted output index: torch's `nearest-exact`, whose scale is a single, and whose sum is rounded to one
/// where the half is taken off and again where it is added.
pub(super) fn nearest_positions(input: u32, output: u32, wanted: &Range<u32>) -> Vec<u32> {
    if input == output {
        return wanted.clone().collect();
    }
    let scale = f64::from(input as f32 / output as f32);
    let position = |index: u32| ((f64::from(index) + 0.5) * scale - 0.5) as f32 + 0.5;
    wanted.clone().map(|index| (position(index).floor() as u32).min(input - 1)).collect()
}

/// What each output pixel of a pass is made of.
struct Taps {
    /// First input index and number of inputs, for each output.
    bounds: Vec<(usize, usize)>,
    /// Weights that fit 16 bits, `stride` for each output, zero past the number of inputs.
    weights: Vec<i32>,
    stride: usize,
    /// Fractional bits of the weights.
    shift: u32,
}

impl Taps {
    /// The taps of every output index in `wanted`, when an edge of `input` pixels becomes one of `output`.
    fn new(input: u32, output: u32, filter: Filter, wanted: &Range<u32>) -> Self {
        let edge = Edge::new(input, output, filter);
        let mut row = Vec::new();
        // The largest weight of the whole edge decides, whatever part of it is wanted.
        let mut largest = 0.0f64;
        for index in 0..output {
            edge.weights(index, &mut row);
            largest = row.iter().copied().fold(largest, f64::max);
            if largest >= DECISIVE {
                break;
            }
        }
        let fits = |shift: &u32| ((0.5 + largest * f64::from(1u32 << (shift + 1))) as i64) < 1 << 15;
        let shift = (0..MAX_SHIFT).find(|shift| !fits(shift)).unwrap_or(MAX_SHIFT);
        let stride = edge.most;
        let mut taps = Self { bounds: Vec::new(), weights: vec![0; stride * wanted.len()], stride, shift };
        for (index, fixed) in wanted.clone().zip(taps.weights.chunks_exact_mut(stride)) {
            let start = edge.weights(index, &mut row);
            for (fixed, &weight) in fixed.iter_mut().zip(&row) {
                let scaled = weight * f64::from(1u32 << shift);
                *fixed = ((if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i16).into();
            }
            taps.bounds.push((start, row.len()));
        }
        taps
    }

    /// As the passes take them, which sum modulo 2^32: no sum gets there.
    fn fixed(&self) -> pillow_exact::Taps {
        let weights = self.weights.chunks_exact(self.stride);
        let outputs = self.bounds.iter().zip(weights).map(|(&(start, count), row)| (start, &row[..count]));
        pillow_exact::Taps::new(outputs, self.shift)
    }
}

/// An edge of `input` pixels that becomes another.
struct Edge {
    input: u32,
    filter: Filter,
    scale: f64,
    support: f64,
    inverse: f64,
    /// The most weights that an output has.
    most: usize,
}

impl Edge {
    fn new(input: u32, output: u32, filter: Filter) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let support = filter.support() * scale.max(1.0);
        let most = support.ceil() as usize * 2 + 1;
        Self { input, filter, scale, support, inverse: 1.0 / scale.max(1.0), most }
    }

    /// The weights of an output, which sum to 1, and the input that the first is of.
    fn weights(&self, index: u32, weights: &mut Vec<f64>) -> usize {
        let center = self.scale * (f64::from(index) + 0.5);
        // `as` truncates towards zero, as C does.
        let start = ((center - self.support + 0.5) as i64).max(0);
        let end = ((center + self.support + 0.5) as i64).min(i64::from(self.input));
        let count = (end - start).clamp(0, self.most as i64);
        let offset = start as f64 - center;
        weights.clear();
        weights.extend((0..count).map(|tap| self.filter.weight((tap as f64 + offset + 0.5) * self.inverse)));
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        start as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::Rgb;

    const FILTERS: [Filter; 4] = [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic];

    /// A picture with edges, gradients and noise.
    fn picture(width: u32, height: u32) -> RgbImage {
        let mut state = 99u32;
        RgbImage::from_fn(width, height, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let edge = if (x / 7 + y / 5) % 2 == 0 { 255 } else { 0 };
            Rgb([edge, (x * 5 + y * 3) as u8, (state >> 24) as u8])
        })
    }

    #[test]
    fn a_window_is_the_crop_of_the_whole() {
        let source = picture(61, 47);
        let window = Window { rows: 3..17, columns: 5..22 };
        for filter in FILTERS {
            for (width, height) in [(30, 23), (61, 20), (25, 47), (61, 47), (100, 90), (59, 19)] {
                let source = Canvas::bare(&source);
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
            let mut padded = RgbImage::from_pixel(size.0, size.1, Rgb([90, 200, 7]));
            ::image::imageops::replace(&mut padded, &source, place.0.into(), place.1.into());
            let canvas = Canvas::new(&source, size, place, [90, 200, 7]);
            for filter in FILTERS {
                for (width, height) in [(30, 23), (13, 9), size, (7, 2), (size.0, 5), (5, size.1), (50, 70)] {
                    let window = Window { rows: 1..height, columns: 2..width - 1 };
                    let ours = resize(&canvas, width, height, filter, &window);
                    let theirs = resize(&Canvas::bare(&padded), width, height, filter, &window);
                    assert_eq!(ours, theirs, "{filter:?} {size:?} -> {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn the_shift_is_the_largest_that_keeps_the_largest_weight_in_16_bits() {
        for (input, output) in [(9, 224), (1000, 7), (640, 335), (3, 2), (1, 5)] {
            for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic] {
                let taps = Taps::new(input, output, filter, &(0..output));
                let largest = taps.weights.iter().copied().max().expect("a weight");
                assert!(
                    largest > 1 << 13 || taps.shift == MAX_SHIFT,
                    "{filter:?} {input} -> {output}: {largest}"
                );
                let part = Taps::new(input, output, filter, &(0..1));
                assert_eq!(part.shift, taps.shift, "of the whole edge");
            }
        }
        // A weight of 1, and one of 1/1000.
        assert_eq!(Taps::new(1, 5, Filter::Bicubic, &(0..5)).shift, 14);
        assert_eq!(Taps::new(100_000, 1, Filter::Bilinear, &(0..1)).shift, MAX_SHIFT);
    }

    #[test]
    fn a_decisive_weight_ends_the_search_with_the_shift_of_all() {
        let edges = [1, 2, 3, 5, 8, 13, 21, 34, 55, 100, 101, 199];
        let mut row = Vec::new();
        for (input, output) in edges.iter().flat_map(|&input| edges.map(|output| (input, output))) {
            for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic] {
                let edge = Edge::new(input, output, filter);
                let mut largest = 0.0f64;
                for index in 0..output {
                    edge.weights(index, &mut row);
                    largest = row.iter().copied().fold(largest, f64::max);
                }
                let bits = |shift: u32| (0.5 + largest * f64::from(1u32 << (shift + 1))) as i64;
                let shift = (0..MAX_SHIFT).find(|&shift| bits(shift) >= 1 << 15).unwrap_or(MAX_SHIFT);
                assert!(largest < 1.5, "{filter:?} {input} -> {output}: {largest}");
                assert_eq!(
                    Taps::new(input, output, filter, &(0..1)).shift,
                    shift,
                    "{filter:?} {input} -> {output}"
                );
            }
        }
    }

    #[test]
    fn no_sum_leaves_32_bits() {
        // Of the positive weights alone, at white: the furthest that a sum can go.
        for (input, output) in [(100_000, 3), (65_535, 224), (5000, 336), (37, 36), (2, 500)] {
            for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic] {
                let taps = Taps::new(input, output, filter, &(0..output));
                for row in taps.weights.chunks_exact(taps.stride) {
                    let positive: i64 = row.iter().map(|&weight| i64::from(weight.max(0))).sum();
                    let negative: i64 = row.iter().map(|&weight| i64::from(weight.min(0))).sum();
                    assert!(positive * 255 + (1 << (taps.shift - 1)) < i64::from(i32::MAX));
                    assert!(negative * 255 > i64::from(i32::MIN));
                }
            }
        }
    }

    #[test]
    fn nearest_positions_stay_inside() {
        for (input, output) in [(350, 189), (1, 9), (9, 1), (16_777_217, 10), (7, 1000)] {
            let found = nearest_positions(input, output, &(0..output));
            assert!(found.iter().all(|&index| index < input) && found.is_sorted(), "{input} -> {output}");
        }
    }
}
