//! Samples that are told by what sets them apart from their left neighbour (libtiff's `tif_predict.c`).

use super::directory::Directory;
use super::layout::{Layout, Mode, tag};
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    /// Of floats, whose bytes of a row stand apart, the highest first.
    Float,
}

impl Predictor {
    pub(super) fn read(directory: &Directory, layout: &Layout) -> Result<Self, DecodeError> {
        match directory.number(tag::PREDICTOR)?.unwrap_or(1) {
            1 => Ok(Self::None),
            2 if matches!(layout.bits, 8 | 16 | 32) => Ok(Self::Horizontal),
            3 if layout.mode == Mode::Float => Ok(Self::Float),
            other => {
                let what = format!("predictor {other} of {} bits", layout.bits);
                Err(DecodeError::unsupported(FORMAT, what))
            }
        }
    }

    /// Undoes it in all rows of a piece. Numbers keep their byte order.
    pub(super) fn undo(
        self,
        piece: &mut [u8],
        row: usize,
        layout: &Layout,
        is_little: bool,
    ) -> Result<(), DecodeError> {
        let samples = layout.pixel_bits() / layout.bits;
        match self {
            Self::None => {}
            Self::Horizontal => {
                for row in piece.chunks_exact_mut(row) {
                    match layout.bits {
                        8 => add_bytes(row, samples),
                        16 => add::<2>(row, samples, is_little),
                        _ => add::<4>(row, samples, is_little),
                    }
                }
            }
            Self::Float => {
                let mut apart = vec![0; row];
                for row in piece.chunks_exact_mut(row) {
                    add_bytes(row, samples);
                    apart.copy_from_slice(row);
                    let count = row.len() / 4;
                    for (index, float) in row.chunks_exact_mut(4).enumerate() {
                        for (byte, value) in float.iter_mut().enumerate() {
                            // The least byte stands last.
                            let plane = if is_little { 3 - byte } else { byte };
                            *value = apart[plane * count + index];
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn add_bytes(row: &mut [u8], samples: usize) {
    for index in samples..row.len() {
        row[index] = row[index].wrapping_add(row[index - samples]);
    }
}

fn add<const SIZE: usize>(row: &mut [u8], samples: usize, is_little: bool) {
    let number = |bytes: &[u8]| {
        let fold = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
        if is_little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    };
    for at in (samples * SIZE..row.len() / SIZE * SIZE).step_by(SIZE) {
        let left = at - samples * SIZE;
        let sum = number(&row[at..at + SIZE]).wrapping_add(number(&row[left..left + SIZE]));
        for byte in 0..SIZE {
            let shift = if is_little { byte } else { SIZE - 1 - byte } * 8;
            row[at + byte] = (sum >> shift) as u8;
        }
    }
}
