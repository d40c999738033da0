//! What each output pixel of a pass is made of, in fixed point.

use std::ops::Range;

use super::filter::Filter;

/// Bits behind the point of Pillow's weights: 32, less 8 for the pixel and 2 for the overshoot of negative lobes.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Weights are split into a high and a low part of this many bits. Both fit 16 bits, and products of 16-bit numbers are what every
/// CPU's vector unit multiplies and adds in one step.
pub(super) const LOW_BITS: u32 = 15;
/// Rows of weights are padded to a multiple of this.
pub(super) const LANES: usize = 8;

/// The inputs of every output along an edge, and their weights.
#[derive(Clone, Debug)]
pub struct Taps {
    /// First input index and number of inputs, for each output.
    pub(super) bounds: Vec<(usize, usize)>,
    /// The weights' low parts, `stride` for each output, zero past the number of inputs.
    pub(super) low: Vec<i16>,
    /// Their high parts; none where all weights fit 16 bits, which are the low parts then.
    pub(super) high: Option<Vec<i16>>,
    pub(super) stride: usize,
    /// Bits behind the point.
    pub(super) bits: u32,
}

impl Taps {
    /// Of each output, in order: the first input, and the weights of it and those after it, in units of 2^-`bits`. A pixel is the sum of
    /// its inputs times their weights modulo 2^32, rounded and clamped. The first inputs do not decrease.
    pub fn new<'w>(outputs: impl Iterator<Item = (usize, &'w [i32])> + Clone, bits: u32) -> Self {
        let longest = outputs.clone().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let stride = longest.next_multiple_of(LANES).max(LANES);
        let is_narrow = outputs.clone().all(|(_, weights)| weights.iter().all(|&w| i16::try_from(w).is_ok()));
        let mut taps = Self { bounds: Vec::new(), low: Vec::new(), high: None, stride, bits };
        let mut high = Vec::new();
        for (start, weights) in outputs {
            taps.bounds.push((start, weights.len()));
            let end = taps.bounds.len() * stride;
            if is_narrow {
                taps.low.extend(weights.iter().map(|&weight| weight as i16));
            } else {
                taps.low.extend(weights.iter().map(|weight| (weight & ((1 << LOW_BITS) - 1)) as i16));
                high.extend(weights.iter().map(|weight| (weight >> LOW_BITS) as i16));
                high.resize(end, 0);
            }
            taps.low.resize(end, 0);
        }
        taps.high = (!is_narrow).then_some(high);
        taps
    }

    /// Pillow's, of every output index in `wanted`, when an edge of `input` pixels becomes one of `output`.
    pub(super) fn pillow(input: u32, output: u32, filter: Filter, wanted: &Range<u32>) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let inverse = 1.0 / scale.max(1.0);
        let (mut all, mut ends) = (Vec::new(), Vec::with_capacity(wanted.len()));
        for index in wanted.clone() {
            let (center, range) = inputs(input, output, filter, index);
            let weight = |x: usize| filter.weight((x as f64 - center + 0.5) * inverse);
            let sum: f64 = range.clone().map(weight).sum();
            all.extend(range.clone().map(|x| {
                let weight = if sum == 0.0 { weight(x) } else { weight(x) / sum };
                let scaled = weight * f64::from(1 << PRECISION_BITS);
                (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
            }));
            ends.push((range, all.len()));
        }
        Self::new(
            ends.iter().map(|(range, end)| (range.start, &all[end - range.len()..*end])),
            PRECISION_BITS,
        )
    }

    /// The number of outputs.
    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// The most inputs that an output has.
    pub(super) fn longest(&self) -> usize {
        self.bounds.iter().map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// The input indices that are used at all.
    pub fn reach(&self) -> Range<usize> {
        let start = self.bounds.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = self.bounds.iter().map(|(start, count)| start + count).max().unwrap_or(0);
        start..end
    }

    /// Where every sum starts, so that the shift rounds.
    pub(super) fn half(&self) -> i32 {
        1 << (self.bits - 1)
    }

    /// An output's weights: low and high parts, padded.
    pub(super) fn weights(&self, output: usize) -> (&[i16], Option<&[i16]>) {
        let range = output * self.stride..(output + 1) * self.stride;
        (&self.low[range.clone()], self.high.as_ref().map(|high| &high[range]))
    }
}

/// The centre of an output index in the input, and the inputs within the filter's reach of it.
pub(super) fn inputs(input: u32, output: u32, filter: Filter, index: u32) -> (f64, Range<usize>) {
    let scale = f64::from(input) / f64::from(output);
    let support = filter.support() * scale.max(1.0);
    let center = (f64::from(index) + 0.5) * scale;
    // `as` truncates towards zero, as C does.
    let start = ((center - support + 0.5) as i64).max(0);
    let end = ((center + support + 0.5) as i64).min(i64::from(input));
    (center, start as usize..end.max(start) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_an_output_sum_to_one() {
        for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming] {
            for (input, output) in [(1000, 7), (7, 1000), (9, 9), (1, 5), (100_000, 1)] {
                let taps = Taps::pillow(input, output, filter, &(0..output));
                for output in 0..taps.len() {
                    let (low, high) = taps.weights(output);
                    let sum = |weights: &[i16]| weights.iter().copied().map(i64::from).sum::<i64>();
                    let sum = sum(low) + (high.map_or(0, sum) << LOW_BITS);
                    let off = i64::from(1 << PRECISION_BITS) - sum;
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
        let taps = Taps::pillow(50, 13, Filter::Lanczos, &(2..11));
        assert_eq!(taps.len(), 9);
        assert!(taps.reach().end <= 50);
        assert_eq!(Taps::pillow(50, 13, Filter::Lanczos, &(0..13)).reach(), 0..50);
    }
}
