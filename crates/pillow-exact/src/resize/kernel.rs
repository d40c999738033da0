//! The sums of a pass: of pixels side by side in some rows, and of rows one below the other. Plain versions, and the choice of faster ones.

use super::taps::{LANES, LOW_BITS, Taps};
use crate::simd::Isa;

/// Red, green, blue.
pub(super) const CHANNELS: usize = 3;
/// Rows that are filtered side by side: the weights are loaded once for all.
pub(super) const ROWS: usize = 4;
/// Bytes behind the pixels of a row that may be read, or written, though they count for nothing.
pub(super) const SLACK: usize = LANES * CHANNELS + 16;

/// Rounds a fixed-point sum, begun at [`Taps::half`], to a pixel.
fn pixel(taps: &Taps, sum: i32) -> u8 {
    (sum >> taps.bits).clamp(0, 255) as u8
}

/// The sum of products, modulo 2³².
fn dot(values: &[i16], weights: &[i16]) -> i32 {
    let products = values.iter().zip(weights).map(|(&value, &weight)| i32::from(value) * i32::from(weight));
    products.fold(0, i32::wrapping_add)
}

/// Room for a row of each channel apart.
pub(super) type Channels = [Vec<i16>; CHANNELS];

/// Filters rows along: of each, pixels from `first` on and [`SLACK`] behind those that the taps read, to one pixel for each of the taps,
/// with slack too.
pub(super) fn across(
    isa: Isa,
    taps: &Taps,
    first: usize,
    lines: &[Vec<u8>; ROWS],
    out: [&mut [u8]; ROWS],
    channels: &mut Channels,
) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_avx2() {
        // SAFETY: the CPU has AVX2.
        #[allow(unsafe_code)]
        return unsafe { super::avx2::across(taps, first, lines, out) };
    }
    #[cfg(target_arch = "aarch64")]
    if isa.has_neon() {
        // SAFETY: the CPU has NEON.
        #[allow(unsafe_code)]
        return unsafe { super::neon::across(taps, first, lines, out) };
    }
    let _ = isa;
    for (line, out) in lines.iter().zip(out) {
        across_plain(taps, first, line, out, channels);
    }
}

fn across_plain(taps: &Taps, first: usize, line: &[u8], out: &mut [u8], channels: &mut Channels) {
    let pixels = line.len() / CHANNELS;
    for (channel, values) in channels.iter_mut().enumerate() {
        values.clear();
        values.extend(line.chunks_exact(CHANNELS).map(|pixel| i16::from(pixel[channel])));
        debug_assert_eq!(values.len(), pixels);
    }
    for (output, (&(start, count), out)) in taps.bounds.iter().zip(out.chunks_exact_mut(CHANNELS)).enumerate()
    {
        let (start, count) = (start - first, count.next_multiple_of(LANES));
        let (low, high) = taps.weights(output);
        for (out, channel) in out.iter_mut().zip(channels.iter()) {
            let values = &channel[start..start + count];
            let high = high.map_or(0, |high| dot(values, &high[..count]).wrapping_shl(LOW_BITS));
            *out = pixel(taps, taps.half().wrapping_add(high).wrapping_add(dot(values, &low[..count])));
        }
    }
}

/// Sums rows with the weights of output `output`: as many as it has inputs, each at least as long as `out`.
pub(super) fn down(
    isa: Isa,
    taps: &Taps,
    output: usize,
    rows: &[&[u8]],
    out: &mut [u8],
    sums: &mut Vec<i32>,
) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa.has_avx2() {
        // SAFETY: the CPU has AVX2.
        #[allow(unsafe_code)]
        unsafe {
            done = super::avx2::down(taps, output, rows, out);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if isa.has_neon() {
        // SAFETY: the CPU has NEON.
        #[allow(unsafe_code)]
        unsafe {
            done = super::neon::down(taps, output, rows, out);
        }
    }
    let _ = isa;
    if done < out.len() {
        down_plain(taps, output, rows, done, out, sums);
    }
}

/// From byte `done` on.
fn down_plain(taps: &Taps, output: usize, rows: &[&[u8]], done: usize, out: &mut [u8], sums: &mut Vec<i32>) {
    let (low, high) = taps.weights(output);
    let out = &mut out[done..];
    sums.clear();
    sums.resize(out.len(), taps.half());
    for (index, row) in rows.iter().enumerate() {
        let high = high.map_or(0, |high| i32::from(high[index]) << LOW_BITS);
        let weight = high + i32::from(low[index]);
        for (sum, &value) in sums.iter_mut().zip(&row[done..]) {
            *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
        }
    }
    for (out, &sum) in out.iter_mut().zip(sums.iter()) {
        *out = pixel(taps, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resize::Filter;

    fn noise(count: usize, seed: u32) -> Vec<u8> {
        let byte = |i: u32| (i ^ seed).wrapping_mul(0x9e37_79b9).wrapping_mul(0x85eb_ca6b).to_be_bytes()[0];
        // Extremes overflow what could overflow.
        (0..count as u32)
            .map(|i| if seed.is_multiple_of(3) { [0, 255][usize::from(byte(i) & 1)] } else { byte(i) })
            .collect()
    }

    /// Weights of every kind: Pillow's, few and many, and ones of 16 bits.
    fn kinds() -> Vec<(usize, Taps)> {
        let mut kinds = Vec::new();
        for filter in [Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for (input, output) in [(5, 9), (64, 31), (37, 36), (700, 9), (1, 3), (3000, 2)] {
                kinds.push((input as usize, Taps::pillow(input, output, filter, &(0..output))));
            }
        }
        let weights: Vec<i32> = noise(40, 5).iter().map(|&value| i32::from(value) * 251 - 32_000).collect();
        kinds.push((20, Taps::new((0..12).map(|at| (at, &weights[at..at + 1 + at % 8])), 14)));
        // Of few bits behind the point, so that sums need more than 16 before it.
        kinds.push((20, Taps::new((0..4).map(|at| (at, &weights[at..at + 16])), 4)));
        kinds
    }

    #[test]
    fn rows_are_filtered_alike_on_every_instruction_set() {
        for (kind, (input, taps)) in kinds().into_iter().enumerate() {
            let lines = [1, 2, 3, 4].map(|seed| noise(input * CHANNELS + SLACK, seed));
            let run = |isa| {
                let mut out = [(); ROWS].map(|()| vec![0; taps.len() * CHANNELS + SLACK]);
                across(
                    isa,
                    &taps,
                    0,
                    &lines,
                    out.each_mut().map(Vec::as_mut_slice),
                    &mut Channels::default(),
                );
                out.map(|row| row[..taps.len() * CHANNELS].to_vec())
            };
            let plain = run(Isa::plain());
            for isa in Isa::all() {
                assert_eq!(run(isa), plain, "{isa:?} {kind}");
            }
        }
    }

    #[test]
    fn rows_are_summed_alike_on_every_instruction_set() {
        for (kind, (input, taps)) in kinds().into_iter().enumerate() {
            for width in [1, 31, 32, 33, 100] {
                let lines: Vec<Vec<u8>> = (0..input as u32).map(|seed| noise(width, seed + 1)).collect();
                for (output, &(start, count)) in taps.bounds.iter().enumerate() {
                    let rows: Vec<&[u8]> = lines[start..start + count].iter().map(Vec::as_slice).collect();
                    let run = |isa| {
                        let mut out = vec![0; width];
                        down(isa, &taps, output, &rows, &mut out, &mut Vec::new());
                        out
                    };
                    let plain = run(Isa::plain());
                    for isa in Isa::all() {
                        assert_eq!(run(isa), plain, "{isa:?} {kind} {width} {output}");
                    }
                }
            }
        }
    }
}
