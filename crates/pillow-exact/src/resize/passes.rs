//! One pass of the resize: weighted sums along a row or a column, in Pillow's fixed point.

use std::ops::Range;

use super::filter::Filter;

/// Red, green, blue.
pub(super) const CHANNELS: usize = 3;
/// Bits behind the point of a coefficient: 32, less 8 for the pixel and 2 for the overshoot of negative lobes.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Where every sum starts, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);
/// Coefficients are split into a high and a low part of this many bits. Both fit 16 bits, and products of 16-bit numbers are what
/// every CPU's vector unit multiplies and adds in one step.
const LOW_BITS: u32 = 15;
/// Rows of coefficients are padded to a multiple of this.
const LANES: usize = 8;

/// What each output pixel of a pass is made of.
pub(super) struct Taps {
    /// First input index and number of inputs, for each output.
    bounds: Vec<(usize, usize)>,
    /// Coefficients, `stride` for each output, zero past the number of inputs.
    weights: Vec<i32>,
    stride: usize,
}

impl Taps {
    /// The taps of every output index in `wanted`, when an edge of `input` pixels becomes one of `output`.
    pub(super) fn new(input: u32, output: u32, filter: Filter, wanted: &Range<u32>) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let inverse = 1.0 / filter_scale;
        let stride = (support.ceil() as usize * 2 + 1).next_multiple_of(LANES);
        let mut taps = Self { bounds: Vec::new(), weights: vec![0; stride * wanted.len()], stride };
        let mut weights = Vec::new();
        for (index, row) in wanted.clone().zip(taps.weights.chunks_exact_mut(stride)) {
            let center = (f64::from(index) + 0.5) * scale;
            // `as` truncates towards zero, as C does.
            let start = ((center - support + 0.5) as i64).max(0);
            let end = ((center + support + 0.5) as i64).min(i64::from(input));
            weights.clear();
            weights.extend((start..end).map(|x| filter.weight((x as f64 - center + 0.5) * inverse)));
            let sum: f64 = weights.iter().sum();
            for (fixed, &weight) in row.iter_mut().zip(&weights) {
                let weight = if sum == 0.0 { weight } else { weight / sum };
                let scaled = weight * f64::from(1 << PRECISION_BITS);
                *fixed = (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32;
            }
            taps.bounds.push((start as usize, weights.len()));
        }
        taps
    }

    /// The number of outputs.
    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// The input indices that are used at all.
    pub(super) fn reach(&self) -> Range<usize> {
        let start = self.bounds.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = self.bounds.iter().map(|(start, count)| start + count).max().unwrap_or(0);
        start..end
    }
}

/// Rows of pixels that a pass reads.
pub trait Rows {
    /// Part of a row. Where its pixels do not lie side by side, they are put together in `composed`.
    fn row<'s>(&'s self, row: usize, columns: &Range<usize>, composed: &'s mut Vec<u8>) -> &'s [u8];

    /// Whether a row has nothing of a picture, so that it is the same as all others of which this is true.
    fn is_blank(&self, row: usize) -> bool;
}

/// What one pass has made for the next.
pub(super) struct Plane<'a> {
    pub(super) pixels: &'a [u8],
    /// Bytes from one row to the next.
    pub(super) stride: usize,
    /// The column and row of the whole picture that come first in `pixels`.
    pub(super) left: usize,
    pub(super) top: usize,
}

impl Rows for Plane<'_> {
    /// In the whole picture's indices.
    fn row<'s>(&'s self, row: usize, columns: &Range<usize>, _composed: &'s mut Vec<u8>) -> &'s [u8] {
        let start = (row - self.top) * self.stride;
        &self.pixels
            [start + (columns.start - self.left) * CHANNELS..start + (columns.end - self.left) * CHANNELS]
    }

    fn is_blank(&self, _row: usize) -> bool {
        false
    }
}

/// Rounds a fixed-point sum, begun at [`HALF`], to a pixel.
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The sum of products, modulo 2³².
fn dot(values: &[i16], weights: &[i16]) -> i32 {
    let products = values.iter().zip(weights).map(|(&value, &weight)| i32::from(value) * i32::from(weight));
    products.fold(0, i32::wrapping_add)
}

/// Filters along the given rows; the result holds those rows, as many pixels wide as there are taps.
pub(super) fn horizontal_pass(plane: &impl Rows, rows: Range<usize>, taps: &Taps) -> Vec<u8> {
    let columns = taps.reach();
    let high: Vec<i16> = taps.weights.iter().map(|weight| (weight >> LOW_BITS) as i16).collect();
    let low: Vec<i16> = taps.weights.iter().map(|weight| (weight & ((1 << LOW_BITS) - 1)) as i16).collect();
    // One row's channels apart, with room for the padding of the last taps.
    let mut channels: [Vec<i16>; CHANNELS] = std::array::from_fn(|_| vec![0; columns.len() + taps.stride]);
    let mut out = Vec::with_capacity(rows.len() * taps.len() * CHANNELS);
    let mut composed = Vec::new();
    // Where in `out` the first blank row is.
    let mut blank: Option<Range<usize>> = None;
    for row in rows {
        if plane.is_blank(row) {
            if let Some(done) = blank.clone() {
                out.extend_from_within(done);
                continue;
            }
            blank = Some(out.len()..out.len() + taps.len() * CHANNELS);
        }
        let [red, green, blue] = &mut channels;
        let targets = red.iter_mut().zip(green).zip(blue);
        for (pixel, ((red, green), blue)) in
            plane.row(row, &columns, &mut composed).chunks_exact(CHANNELS).zip(targets)
        {
            (*red, *green, *blue) = (pixel[0].into(), pixel[1].into(), pixel[2].into());
        }
        let weights = high.chunks_exact(taps.stride).zip(low.chunks_exact(taps.stride));
        for (&(start, count), (high, low)) in taps.bounds.iter().zip(weights) {
            let (start, count) = (start - columns.start, count.next_multiple_of(LANES));
            out.extend(channels.each_ref().map(|channel| {
                let values = &channel[start..start + count];
                let high = dot(values, &high[..count]).wrapping_shl(LOW_BITS);
                clip8(HALF.wrapping_add(high).wrapping_add(dot(values, &low[..count])))
            }));
        }
    }
    out
}

/// Filters along the given columns; the result holds those columns, as many rows high as there are taps.
pub(super) fn vertical_pass(plane: &impl Rows, columns: Range<usize>, taps: &Taps) -> Vec<u8> {
    let mut out = Vec::with_capacity(taps.len() * columns.len() * CHANNELS);
    let mut sums = vec![0i32; columns.len() * CHANNELS];
    let mut composed = Vec::new();
    for (&(start, count), weights) in taps.bounds.iter().zip(taps.weights.chunks_exact(taps.stride)) {
        sums.fill(HALF);
        for (row, &weight) in (start..start + count).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(plane.row(row, &columns, &mut composed)) {
                *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
            }
        }
        out.extend(sums.iter().map(|&sum| clip8(sum)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_an_output_sum_to_one() {
        for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming] {
            for (input, output) in [(1000, 7), (7, 1000), (9, 9), (1, 5), (100_000, 1)] {
                let taps = Taps::new(input, output, filter, &(0..output));
                for row in taps.weights.chunks_exact(taps.stride) {
                    let off =
                        i64::from(1 << PRECISION_BITS) - row.iter().copied().map(i64::from).sum::<i64>();
                    assert!(
                        off.unsigned_abs() as usize <= taps.stride / 2,
                        "{filter:?} {input} -> {output}: {off}"
                    );
                }
            }
        }
    }

    #[test]
    fn taps_stay_inside_the_input() {
        let taps = Taps::new(50, 13, Filter::Lanczos, &(2..11));
        assert_eq!(taps.len(), 9);
        assert!(taps.reach().end <= 50);
        assert_eq!(Taps::new(50, 13, Filter::Lanczos, &(0..13)).reach(), 0..50);
    }
}
