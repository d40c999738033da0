//! GIF's LZW, with Pillow's ideas of what is an error and of when a picture is complete.

use crate::error::DecodeError;
use crate::format::GIF as FORMAT;

/// Codes have up to 12 bits.
const MAX_BITS: u32 = 12;
const TABLE: usize = 1 << MAX_BITS;
/// The pieces in which Pillow reads the file.
const BLOCK: usize = 65_536;

/// Where the frame lies in the screen.
pub(super) struct Frame {
    /// Index of its first pixel.
    pub(super) start: usize,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) interlaced: bool,
}

/// Decodes the frame whose data blocks begin at `data` into `screen`.
pub(super) fn decode(
    data: &[u8],
    code_size: u8,
    frame: &Frame,
    screen: &mut [u8],
) -> Result<(), DecodeError> {
    if u32::from(code_size) > MAX_BITS {
        return Err(DecodeError::invalid(FORMAT, format!("codes of {code_size} bits")));
    }
    let mut codes =
        Codes { data, position: 0, available: BLOCK.min(data.len()), block: 0, bits: 0, bit_count: 0 };
    let mut canvas = Canvas { frame, screen, x: 0, y: 0, pass: if frame.interlaced { 0 } else { 3 } };

    let clear = 1usize << code_size;
    let (mut prefix, mut suffix) = ([0u16; TABLE], [0u8; TABLE]);
    let mut next = clear + 2;
    let mut width = u32::from(code_size) + 1;
    // The code before, and the first byte of its string; none after a clear code.
    let mut last: Option<usize> = None;
    let mut last_byte = 0u8;
    let mut string = Vec::with_capacity(TABLE);
    let broken = || DecodeError::invalid(FORMAT, "impossible code");
    loop {
        let code = codes.next(width)?;
        if code == clear {
            (next, width, last) = (clear + 2, u32::from(code_size) + 1, None);
            continue;
        }
        if code == clear + 1 {
            // Data that end before the picture: Pillow goes on with whatever follows, if it has not yet read to the end.
            codes.more()?;
            continue;
        }
        // The string, last byte first.
        string.clear();
        let Some(previous) = last else {
            if code > clear {
                return Err(broken());
            }
            (last, last_byte) = (Some(code), code as u8);
            string.push(code as u8);
            if canvas.put(&string)? {
                return Ok(());
            }
            continue;
        };
        if code > next {
            return Err(broken());
        }
        let mut walk = code;
        if code == next {
            string.push(last_byte);
            walk = previous;
        }
        while walk >= clear {
            if string.len() >= TABLE || walk >= TABLE {
                return Err(broken());
            }
            string.push(suffix[walk]);
            walk = usize::from(prefix[walk]);
        }
        last_byte = walk as u8;
        string.push(last_byte);
        if next < TABLE {
            suffix[next] = last_byte;
            prefix[next] = previous as u16;
            if next + 1 == 1 << width && width < MAX_BITS {
                width += 1;
            }
            next += 1;
        }
        last = Some(code);
        if canvas.put(&string)? {
            return Ok(());
        }
    }
}

/// The stream of codes in the data blocks.
struct Codes<'a> {
    data: &'a [u8],
    position: usize,
    /// How far the file has been read.
    available: usize,
    /// What is left of the current block.
    block: usize,
    bits: u32,
    bit_count: u32,
}

impl Codes<'_> {
    fn next(&mut self, width: u32) -> Result<usize, DecodeError> {
        while self.bit_count < width {
            if self.block == 0 {
                // A block is begun only when all of it is there.
                loop {
                    let there = &self.data[self.position..self.available];
                    match there.first() {
                        Some(&length) if there.len() > usize::from(length) => {
                            self.block = usize::from(length);
                            self.position += 1;
                            break;
                        }
                        _ => self.more()?,
                    }
                }
                continue;
            }
            self.bits |= u32::from(self.data[self.position]) << self.bit_count;
            self.bit_count += 8;
            self.position += 1;
            self.block -= 1;
        }
        let code = self.bits & ((1 << width) - 1);
        self.bits >>= width;
        self.bit_count -= width;
        Ok(code as usize)
    }

    /// Reads the next piece of the file.
    fn more(&mut self) -> Result<(), DecodeError> {
        if self.available == self.data.len() {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
        self.available = (self.available + BLOCK).min(self.data.len());
        Ok(())
    }
}

/// The frame being filled.
struct Canvas<'a> {
    frame: &'a Frame,
    screen: &'a mut [u8],
    x: usize,
    y: usize,
    /// The interlacing pass, 3 being the last, which is the only one where nothing is interlaced.
    pass: usize,
}

impl Canvas<'_> {
    /// Puts down a string, given last byte first; true when the frame is complete.
    fn put(&mut self, reversed: &[u8]) -> Result<bool, DecodeError> {
        for &value in reversed.iter().rev() {
            self.screen[self.frame.start + self.y * self.frame.stride + self.x] = value;
            self.x += 1;
            if self.x == self.frame.width {
                self.x = 0;
                if self.next_row() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Goes to the next row; true when there is none.
    fn next_row(&mut self) -> bool {
        const STARTS: [usize; 4] = [0, 4, 2, 1];
        const STEPS: [usize; 4] = [8, 8, 4, 2];
        self.y += if self.frame.interlaced { STEPS[self.pass] } else { 1 };
        while self.y >= self.frame.height {
            if self.pass == 3 {
                return true;
            }
            self.pass += 1;
            self.y = STARTS[self.pass];
        }
        false
    }
}
