//! BC7: eight ways to divide sixteen bytes among ends of lines, and indices on them (`BcnDecode.c`).

use super::subsets::{Bits, is_anchor, subset, weights};

/// A way.
struct Mode {
    subsets: usize,
    partition: u32,
    rotation: u32,
    selects: u32,
    colour: u32,
    alpha: u32,
    /// One lowest bit for each end, or for both ends of a line.
    lowest: Lowest,
    index: u32,
    /// Of indices of their own for alpha.
    second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lowest {
    None,
    EachEnd,
    Shared,
}

const fn mode(
    shape: (usize, u32, u32, u32),
    (colour, alpha): (u32, u32),
    lowest: Lowest,
    (index, second): (u32, u32),
) -> Mode {
    let (subsets, partition, rotation, selects) = shape;
    Mode { subsets, partition, rotation, selects, colour, alpha, lowest, index, second }
}

const MODES: [Mode; 8] = [
    mode((3, 4, 0, 0), (4, 0), Lowest::EachEnd, (3, 0)),
    mode((2, 6, 0, 0), (6, 0), Lowest::Shared, (3, 0)),
    mode((3, 6, 0, 0), (5, 0), Lowest::None, (2, 0)),
    mode((2, 6, 0, 0), (7, 0), Lowest::EachEnd, (2, 0)),
    mode((1, 0, 2, 1), (5, 6), Lowest::None, (2, 3)),
    mode((1, 0, 2, 0), (7, 8), Lowest::None, (2, 2)),
    mode((1, 0, 0, 0), (7, 7), Lowest::EachEnd, (4, 0)),
    mode((2, 6, 0, 0), (5, 5), Lowest::EachEnd, (2, 0)),
];

/// The sixteen pixels of a block.
pub(super) fn pixels(block: &[u8; 16]) -> [[u8; 4]; 16] {
    let Some(mode) = MODES.get(block[0].trailing_zeros() as usize) else { return [[0, 0, 0, 255]; 16] };
    let mut bits = Bits::new(block);
    bits.take(block[0].trailing_zeros() + 1);
    let partition = bits.take(mode.partition) as usize;
    let (rotation, selects) = (bits.take(mode.rotation) as usize, bits.take(mode.selects) == 1);
    let ends = ends(mode, &mut bits);

    let mut first = [0; 16];
    for (pixel, index) in first.iter_mut().enumerate() {
        *index = bits.take(mode.index - u32::from(is_anchor(mode.subsets, partition, pixel))) as usize;
    }
    let first = first.map(|index| weights(mode.index)[index]);
    let mut second = first;
    if mode.second > 0 {
        for (pixel, weight) in second.iter_mut().enumerate() {
            *weight = weights(mode.second)[bits.take(mode.second - u32::from(pixel == 0)) as usize];
        }
    }
    let (colour, alpha) = if selects { (second, first) } else { (first, second) };
    std::array::from_fn(|at| {
        let line = subset(mode.subsets, partition, at) * 2;
        let between = |channel: usize, weight: u8| {
            let (a, b) = (u32::from(ends[line][channel]), u32::from(ends[line + 1][channel]));
            ((a * (64 - u32::from(weight)) + b * u32::from(weight) + 32) >> 6) as u8
        };
        let mut pixel =
            [0, 1, 2, 3].map(|channel| between(channel, if channel == 3 { alpha[at] } else { colour[at] }));
        if rotation > 0 {
            pixel.swap(rotation - 1, 3);
        }
        pixel
    })
}

/// The two ends of each subset's line, in 8 bits.
fn ends(mode: &Mode, bits: &mut Bits) -> [[u8; 4]; 6] {
    let count = mode.subsets * 2;
    let mut ends = [[0u32; 4]; 6];
    for (channel, size) in [mode.colour, mode.colour, mode.colour, mode.alpha].into_iter().enumerate() {
        for end in &mut ends[..count] {
            end[channel] = bits.take(size);
        }
    }
    let ends_of_a_bit = match mode.lowest {
        Lowest::None => count,
        Lowest::EachEnd => 1,
        Lowest::Shared => 2,
    };
    if mode.lowest != Lowest::None {
        for ends in ends[..count].chunks_mut(ends_of_a_bit) {
            let bit = bits.take(1);
            ends.iter_mut().flatten().for_each(|value| *value = *value << 1 | bit);
        }
    }
    let more = u32::from(mode.lowest != Lowest::None);
    let widen = |value: u32, size: u32| {
        let high = value << (8 - size);
        (high | high >> size) as u8
    };
    ends.map(|[red, green, blue, alpha]| {
        let colour = |value| widen(value, mode.colour + more);
        let alpha = if mode.alpha == 0 { 255 } else { widen(alpha, mode.alpha + more) };
        [colour(red), colour(green), colour(blue), alpha]
    })
}
