//! LZW as libtiff reads it (`LZWDecode`, and `LZWDecodeCompat` of old files): a piece begins with a clear code, and no code comes before
//! it is in the table.

use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

const CLEAR: usize = 256;
const END: usize = 257;
const FIRST: usize = 258;
const LEAST_BITS: u32 = 9;
const MOST_BITS: u32 = 12;
/// libtiff's table has room beyond the codes that there are; when that is full too, a piece is broken.
const ROOM: usize = 4095 + 1024;

/// Codes of growing length.
struct Codes<'a> {
    rest: std::slice::Iter<'a, u8>,
    bits: u64,
    count: u32,
    /// The lowest bit of a byte is the first.
    is_old: bool,
}

impl Codes<'_> {
    fn take(&mut self, length: u32) -> Result<usize, DecodeError> {
        while self.count < length {
            let byte = u64::from(*self.rest.next().ok_or(DecodeError::Truncated { format: FORMAT })?);
            self.bits = if self.is_old { self.bits | byte << self.count } else { self.bits << 8 | byte };
            self.count += 8;
        }
        self.count -= length;
        let mask = (1 << length) - 1;
        if self.is_old {
            let code = self.bits & mask;
            self.bits >>= length;
            return Ok(code as usize);
        }
        Ok((self.bits >> self.count & mask) as usize)
    }
}

/// A string: where it stands in what is unpacked, and its length.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    length: usize,
}

pub(super) fn unpack(data: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    // In the order of bits that old files have, a clear code is this.
    let is_old = data.first() == Some(&0) && data.get(1).is_some_and(|byte| byte & 1 == 1);
    let broken = || DecodeError::invalid(FORMAT, "a code that is not in the table");
    let mut codes = Codes { rest: data.iter(), bits: 0, count: 0, is_old };
    let mut out: Vec<u8> = Vec::with_capacity(size.min(data.len().saturating_mul(1400)));
    // Strings by their code: each is a piece of what was unpacked before, the one before it and a byte more.
    let mut table: Vec<Place> = Vec::with_capacity(ROOM);
    let mut bits = LEAST_BITS;
    let mut last: Option<Place> = None;
    while out.len() < size {
        let code = codes.take(bits)?;
        match code {
            END => return Err(DecodeError::Truncated { format: FORMAT }),
            CLEAR => {
                table.clear();
                bits = LEAST_BITS;
                let code = loop {
                    let code = codes.take(bits)?;
                    if code != CLEAR {
                        break code;
                    }
                };
                if code == END {
                    return Err(DecodeError::Truncated { format: FORMAT });
                }
                last = Some(Place { start: out.len(), length: 1 });
                out.push(u8::try_from(code).map_err(|_| broken())?);
            }
            code => {
                let before = last.ok_or_else(broken)?;
                if FIRST + table.len() >= ROOM {
                    return Err(broken());
                }
                // It goes on into the byte behind it, which is the first of the string that follows.
                table.push(Place { start: before.start, length: before.length + 1 });
                let start = out.len();
                if code < CLEAR {
                    out.push(code as u8);
                } else {
                    let place = *table.get(code - FIRST).ok_or_else(broken)?;
                    let length = place.length.min(size - start);
                    if place.start + length <= start {
                        out.extend_from_within(place.start..place.start + length);
                    } else {
                        for at in place.start..place.start + length {
                            out.push(out[at]);
                        }
                    }
                }
                last = Some(Place { start, length: out.len() - start });
                // One code early, but in old files.
                if FIRST + table.len() > (1 << bits) - if is_old { 1 } else { 2 } {
                    bits = MOST_BITS.min(bits + 1);
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of nine bits, the highest or the lowest bit first.
    fn packed(codes: &[u16], is_old: bool) -> Vec<u8> {
        let bit = |index: usize| {
            codes.get(index / 9).map_or(0, |code| {
                let place = if is_old { index % 9 } else { 8 - index % 9 };
                (code >> place & 1) as u8
            })
        };
        let byte = |at: usize| {
            (0..8).map(|place| bit(at * 8 + place) << if is_old { place } else { 7 - place }).sum()
        };
        (0..(codes.len() * 9).div_ceil(8)).map(byte).collect()
    }

    #[test]
    fn a_code_may_name_the_string_that_it_makes() {
        for is_old in [false, true] {
            let data = packed(&[256, 65, 258, 259, 66, 257], is_old);
            assert_eq!(unpack(&data, 7).expect("whole"), b"AAAAAAB");
            // What is beyond the piece is cut off.
            assert_eq!(unpack(&data, 5).expect("whole"), b"AAAAA");
            assert!(unpack(&data, 8).is_err());
        }
    }

    #[test]
    fn codes_that_are_not_in_the_table_are_refused() {
        for codes in [&[65, 66][..], &[256, 300], &[256, 65, 300], &[256, 257]] {
            assert!(unpack(&packed(codes, false), 2).is_err(), "{codes:?}");
        }
    }
}
