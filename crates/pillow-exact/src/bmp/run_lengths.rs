//! BMP's run lengths, as Pillow reads them.

use crate::error::DecodeError;
use crate::format::BMP as FORMAT;
use crate::reader::Reader;

/// Decodes run lengths to one byte per pixel, rows in the order of the file; two pixels share a byte of it if they are
/// `nibbles`. Too few pixels are an error.
pub(super) fn run_lengths(
    reader: &mut Reader,
    width: usize,
    height: usize,
    nibbles: bool,
) -> Result<Vec<u8>, DecodeError> {
    let wanted = width * height;
    let mut data: Vec<u8> = Vec::new();
    let mut x = 0;
    while data.len() < wanted {
        let [count, value] = reader.up_to(2) else { break };
        let (count, value) = (usize::from(*count), *value);
        match (count, value) {
            // End of line.
            (0, 0) => {
                data.resize(data.len().next_multiple_of(width), 0);
                x = 0;
            }
            // End of bitmap.
            (0, 1) => break,
            // A step right and up.
            (0, 2) => {
                let [right, up] = reader.up_to(2) else { break };
                let step = usize::from(*right) + usize::from(*up) * width;
                data.resize(data.len() + step.min(wanted - data.len()), 0);
                x = data.len() % width;
            }
            // Pixels one by one.
            (0, run) => {
                let pixels = usize::from(run).min(wanted - data.len());
                let length = if nibbles { pixels.div_ceil(2) } else { pixels };
                let bytes = reader.up_to(length);
                if nibbles {
                    let both = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                    data.extend(both.take(pixels));
                } else {
                    data.extend_from_slice(bytes);
                }
                if bytes.len() < length || data.len() == wanted {
                    break;
                }
                x += usize::from(run);
                // Runs are padded to an even place in the file.
                if !reader.position().is_multiple_of(2) {
                    reader.seek(reader.position() + 1);
                }
            }
            // One value, or two in turn, repeated; what does not fit the row is dropped.
            _ => {
                let count = if x + count > width { width.saturating_sub(x) } else { count };
                if nibbles {
                    data.extend((0..count).map(|index| if index % 2 == 0 { value >> 4 } else { value & 15 }));
                } else {
                    data.resize(data.len() + count, value);
                }
                x += count;
            }
        }
    }
    if data.len() < wanted {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    data.truncate(wanted);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(data: &[u8], width: usize, height: usize, nibbles: bool) -> Result<Vec<u8>, DecodeError> {
        run_lengths(&mut Reader::new(data, FORMAT), width, height, nibbles)
    }

    #[test]
    fn runs_pixels_steps_and_ends() {
        // Two of 7 and an end of line; three pixels, padded; a step of one right; the rest of the last row.
        let data = [2, 7, 0, 0, 0, 3, 4, 5, 6, 0, 0, 2, 1, 0, 9, 8, 0, 1];
        assert_eq!(pixels(&data, 3, 3, false).unwrap(), [7, 7, 0, 4, 5, 6, 0, 8, 8]);
    }

    #[test]
    fn nibbles_come_in_turn() {
        assert_eq!(pixels(&[5, 0x12, 0, 3, 0x34, 0x50], 8, 1, true).unwrap(), [1, 2, 1, 2, 1, 3, 4, 5]);
    }

    #[test]
    fn too_few_pixels_are_truncated() {
        for data in [&[][..], &[2], &[2, 7], &[2, 7, 0, 1], &[0, 3, 4, 5], &[0, 2, 1]] {
            assert!(matches!(pixels(data, 3, 1, false), Err(DecodeError::Truncated { .. })), "{data:?}");
        }
    }
}
