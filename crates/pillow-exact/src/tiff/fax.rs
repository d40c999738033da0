//! Faxes: ITU-T T.4 in rows of one or two dimensions, and T.6. What libtiff mends with a warning is refused.

use std::sync::LazyLock;

use super::fax_codes::{BLACK, LONG, WHITE};
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows of one dimension, each beginning with a byte.
    Rows,
    /// Rows behind marks, some of them told by the row before.
    Group3 { two_dimensional: bool },
    /// All rows are told by the row before.
    Group4,
}

/// Bits of the longest code of a run.
const LONGEST: u32 = 13;
/// The shortest run that is only a part of one.
const LEAST_PART: u16 = 64;

/// A code's length and its run, by the bits that follow; a length of 0 is no code.
type Table = Vec<(u8, u16)>;

/// Of white and of black.
static TABLES: LazyLock<[Table; 2]> = LazyLock::new(|| [table(&WHITE), table(&BLACK)]);

fn table(codes: &[&str]) -> Table {
    let mut table = vec![(0, 0); 1 << LONGEST];
    let run = |index: usize| if index < 64 { index } else { (index - 63) * 64 };
    let runs = codes.iter().enumerate().map(|(index, code)| (*code, run(index)));
    for (code, run) in runs.chain(LONG.iter().enumerate().map(|(index, code)| (*code, 1792 + index * 64))) {
        let rest = LONGEST - code.len() as u32;
        let first = usize::from_str_radix(code, 2).expect("a code is of 0 and 1") << rest;
        table[first..first + (1 << rest)].fill((code.len() as u8, run as u16));
    }
    table
}

/// Bits, the highest of a byte first.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.data.len() * 8 - self.at
    }

    /// The next bits, and zeros behind the last.
    fn peek(&self, count: u32) -> usize {
        let byte = |index: usize| u32::from(self.data.get(index).copied().unwrap_or(0));
        let first = self.at / 8;
        let word = byte(first) << 24 | byte(first + 1) << 16 | byte(first + 2) << 8 | byte(first + 3);
        (word << (self.at % 8) >> (32 - count)) as usize
    }

    fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        if count > self.left() {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
        self.at += count;
        Ok(())
    }

    fn bit(&mut self) -> Result<bool, DecodeError> {
        let bit = self.peek(1) == 1;
        self.skip(1).map(|()| bit)
    }

    /// A whole run of one colour.
    fn run(&mut self, is_black: bool) -> Result<usize, DecodeError> {
        let table = &TABLES[usize::from(is_black)];
        let mut sum = 0;
        loop {
            let (length, run) = table[self.peek(LONGEST)];
            if length == 0 {
                return Err(broken());
            }
            self.skip(length.into())?;
            sum += usize::from(run);
            if run < LEAST_PART {
                return Ok(sum);
            }
        }
    }

    /// The mark before a row: eleven zeros or more, and a one.
    fn mark(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while !self.bit()? {}
        if self.at - start < 12 {
            return Err(DecodeError::unsupported(FORMAT, "fax rows without their marks"));
        }
        Ok(())
    }
}

fn broken() -> DecodeError {
    DecodeError::invalid(FORMAT, "a fax row that is not as long as the picture is wide")
}

/// Unpacks rows to bits, black being 1.
pub(super) fn unpack(data: &[u8], kind: Kind, width: usize, height: usize) -> Result<Vec<u8>, DecodeError> {
    let stride = width.div_ceil(8);
    let mut out = vec![0; stride * height];
    let mut bits = Bits { data, at: 0 };
    // Runs of the row before, which is white at first.
    let mut above = vec![width, 0];
    for row in out.chunks_exact_mut(stride) {
        let runs = match kind {
            Kind::Rows => {
                let runs = one_dimension(&mut bits, width)?;
                bits.at = bits.at.next_multiple_of(8).min(data.len() * 8);
                runs
            }
            Kind::Group3 { two_dimensional } => {
                bits.mark()?;
                if !two_dimensional || bits.bit()? {
                    one_dimension(&mut bits, width)?
                } else {
                    two_dimensions(&mut bits, width, &above)?
                }
            }
            Kind::Group4 => two_dimensions(&mut bits, width, &above)?,
        };
        let mut start = 0;
        for (index, &run) in runs.iter().enumerate() {
            if index % 2 == 1 {
                (start..start + run).for_each(|x| row[x / 8] |= 0x80 >> (x % 8));
            }
            start += run;
        }
        above = runs;
    }
    Ok(out)
}

/// Runs of white and black in turn (`EXPAND1D`).
fn one_dimension(bits: &mut Bits, width: usize) -> Result<Vec<usize>, DecodeError> {
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < width {
        let is_black = runs.len() % 2 == 1;
        let run = bits.run(is_black)?;
        at += run;
        if at > width || runs.len() > width {
            return Err(broken());
        }
        runs.push(run);
        if is_black && at < width && runs.ends_with(&[0, 0]) {
            runs.truncate(runs.len() - 2);
        }
    }
    runs.push(0);
    Ok(runs)
}

/// A row of which the ends of runs are told by those of the row above (`EXPAND2D`).
fn two_dimensions(bits: &mut Bits, width: usize, above: &[usize]) -> Result<Vec<usize>, DecodeError> {
    let mut runs: Vec<usize> = Vec::new();
    // Where this row is, what of the run is passed over, and the change above that is next.
    let (mut at, mut passed) = (0usize, 0usize);
    let (mut next, mut change) = (1usize, above[0]);
    let run_above = |index: usize| above.get(index).copied().unwrap_or(0);
    while at < width {
        if runs.len() > width {
            return Err(broken());
        }
        // The next change above that lies behind, to the other colour.
        let look = |runs: &[usize], at: usize, next: &mut usize, change: &mut usize| {
            while !runs.is_empty() && *change <= at && *change < width {
                if *next + 1 >= above.len() + 2 {
                    return Err(broken());
                }
                *change += run_above(*next) + run_above(*next + 1);
                *next += 2;
            }
            Ok(())
        };
        let (length, code) = code(bits.peek(7)).ok_or_else(broken)?;
        bits.skip(length)?;
        match code {
            Code::Pass => {
                look(&runs, at, &mut next, &mut change)?;
                let end = change + run_above(next);
                passed += end.checked_sub(at).ok_or_else(broken)?;
                at = end;
                change = end + run_above(next + 1);
                next += 2;
            }
            Code::Horizontal => {
                for _ in 0..2 {
                    let run = bits.run(runs.len() % 2 == 1)?;
                    runs.push(passed + run);
                    (passed, at) = (0, at + run);
                }
                if at > width {
                    return Err(broken());
                }
                look(&runs, at, &mut next, &mut change)?;
            }
            Code::Vertical(shift) => {
                look(&runs, at, &mut next, &mut change)?;
                let end = change.checked_add_signed(shift).filter(|&end| end >= at).ok_or_else(broken)?;
                runs.push(passed + (end - at));
                (passed, at) = (0, end);
                if shift < 0 {
                    next -= 1;
                    change -= run_above(next);
                } else {
                    change += run_above(next);
                    next += 1;
                }
            }
        }
    }
    if at != width {
        return Err(broken());
    }
    if passed > 0 {
        runs.push(passed);
    }
    // An imaginary change at the end.
    runs.push(0);
    Ok(runs)
}

/// How a run's end is told.
enum Code {
    Pass,
    Horizontal,
    /// So far right of the change above.
    Vertical(isize),
}

/// The code that seven bits begin with, and its length.
fn code(bits: usize) -> Option<(usize, Code)> {
    Some(match bits {
        0b100_0000.. => (1, Code::Vertical(0)),
        0b011_0000.. => (3, Code::Vertical(1)),
        0b010_0000.. => (3, Code::Vertical(-1)),
        0b001_0000.. => (3, Code::Horizontal),
        0b000_1000.. => (4, Code::Pass),
        0b000_0110.. => (6, Code::Vertical(2)),
        0b000_0100.. => (6, Code::Vertical(-2)),
        0b000_0011 => (7, Code::Vertical(3)),
        0b000_0010 => (7, Code::Vertical(-3)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits, padded with zeros.
    fn packed(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(u8::is_ascii_digit).map(|bit| bit - b'0').collect();
        let byte = |bits: &[u8]| bits.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum();
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn rows_of_one_dimension_begin_with_a_byte() {
        // 2 white, 3 black, 3 white; 0 white, 8 black.
        let data = packed("0111 10 1000 000000  00110101 000101");
        assert_eq!(unpack(&data, Kind::Rows, 8, 2).expect("whole"), [0b0011_1000, 0xff]);
        assert!(unpack(&data, Kind::Rows, 7, 2).is_err());
    }

    #[test]
    fn rows_of_two_dimensions_follow_the_row_above() {
        // 2 white and 3 black, then the end; the same one to the right; passed over and white.
        let data = packed("001 0111 10  1   011 011 1   0001 1");
        let rows = unpack(&data, Kind::Group4, 8, 3).expect("whole");
        assert_eq!(rows, [0b0011_1000, 0b0001_1100, 0]);
    }

    #[test]
    fn rows_of_group_3_have_marks() {
        let mark = "00000000000 1";
        let data = packed(&format!("{mark} 1  0111 10 1000  0000{mark} 0  1 1 1"));
        let kind = Kind::Group3 { two_dimensional: true };
        assert_eq!(unpack(&data, kind, 8, 2).expect("whole"), [0b0011_1000; 2]);
        let error = unpack(&data[2..], kind, 8, 2).expect_err("no mark").to_string();
        assert!(error.contains("without their marks"), "{error}");
    }

    #[test]
    fn long_runs_are_of_several_codes() {
        // 2560 + 64 white.
        let data = packed("000000011111 11011 00110101");
        assert_eq!(unpack(&data, Kind::Rows, 2624, 1).expect("whole"), [0; 328]);
    }
}
