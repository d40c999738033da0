//! Blocks of two colours and what lies between them, and of two values and what lies between those (`BcnDecode.c`).

/// A colour of 5, 6 and 5 bits, each widened by its own highest bits.
fn colour(word: u16) -> [u8; 3] {
    let widen = |value: u16, bits: u32| {
        let high = value << (8 - bits);
        (high | high >> bits) as u8
    };
    [widen(word >> 11, 5), widen(word >> 5 & 63, 6), widen(word & 31, 5)]
}

/// The sixteen pixels of a block. If its second colour is the larger one there are three colours and clear black, unless alpha comes
/// from elsewhere.
pub(super) fn colours(block: &[u8; 8], separate_alpha: bool) -> [[u8; 4]; 16] {
    let words = [u16::from_le_bytes([block[0], block[1]]), u16::from_le_bytes([block[2], block[3]])];
    let [first, second] = words.map(colour);
    let mix = |a: u16, b: u16| {
        let channel =
            |index: usize| ((a * u16::from(first[index]) + b * u16::from(second[index])) / (a + b)) as u8;
        [channel(0), channel(1), channel(2), 255]
    };
    let four = words[0] > words[1] || separate_alpha;
    let table = if four {
        [mix(1, 0), mix(0, 1), mix(2, 1), mix(1, 2)]
    } else {
        [mix(1, 0), mix(0, 1), mix(1, 1), [0; 4]]
    };
    std::array::from_fn(|at| table[usize::from(block[4 + at / 4] >> (2 * (at % 4)) & 3)])
}

/// Colours with four bits of alpha a pixel before them.
pub(super) fn with_plain_alpha(alpha: &[u8; 8], block: &[u8; 8]) -> [[u8; 4]; 16] {
    let mut pixels = colours(block, true);
    for (at, pixel) in pixels.iter_mut().enumerate() {
        pixel[3] = (alpha[at / 2] >> (4 * (at % 2)) & 0xf) * 17;
    }
    pixels
}

/// Sixteen values on a ramp between two. If the second is the larger one there are four between them, and the ends of the scale.
pub(super) fn ramp(block: &[u8; 8], signed: bool, mut put: impl FnMut(usize, u8)) {
    let end = |byte: u8| u16::from(if signed { byte.wrapping_add(128) } else { byte });
    let (first, second) = (end(block[0]), end(block[1]));
    let steps = if first > second { 7 } else { 5 };
    let mut table = [0u8; 8];
    table[7] = 255;
    (table[0], table[1]) = (first as u8, second as u8);
    for step in 1..steps {
        table[usize::from(step) + 1] = (((steps - step) * first + step * second) / steps) as u8;
    }
    let indices = block[2..].iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    (0..16).for_each(|at| put(at, table[(indices >> (3 * at) & 7) as usize]));
}
