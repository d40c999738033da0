//! PackBits, as libtiff has it (`PackBitsDecode`): what goes beyond the piece is cut off.

use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

pub(super) fn unpack(data: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    let truncated = || DecodeError::Truncated { format: FORMAT };
    let mut out = Vec::with_capacity(size.min(data.len().saturating_mul(64)));
    let mut rest = data.iter();
    while out.len() < size {
        let Some(&head) = rest.next() else { return Err(truncated()) };
        let left = size - out.len();
        match head as i8 {
            -128 => {}
            count @ ..0 => {
                let Some(&value) = rest.next() else { return Err(truncated()) };
                out.resize(out.len() + (1 - isize::from(count)).unsigned_abs().min(left), value);
            }
            count => {
                let count = (usize::from(count.unsigned_abs()) + 1).min(left);
                let (literal, after) = rest.as_slice().split_at_checked(count).ok_or_else(truncated)?;
                out.extend_from_slice(literal);
                rest = after.iter();
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_end_with_the_piece() {
        assert_eq!(unpack(&[2, 1, 2, 3, 0x80, 0xfe, 9], 6).expect("whole"), [1, 2, 3, 9, 9, 9]);
        assert_eq!(unpack(&[0x81, 7], 3).expect("whole"), [7, 7, 7]);
        assert!(unpack(&[2, 1, 2, 3], 4).is_err());
        assert!(unpack(&[2, 1], 3).is_err());
    }
}
