//! Where in a file the tensors of an entry lie.

use std::{fs::File, io};

use crate::{
    output::{Dtype, Entry, Format},
    read_at::read_exact_at,
    shard::padded,
};

/// Bytes of one of the files of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which of the entry's files.
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// Where a tensor is: `start` is where the file's entries begin, of a file of many. None of an entry that cannot be so.
pub(super) fn spot(
    entry: &Entry,
    tensor: usize,
    format: Format,
    dtype: Dtype,
    start: Option<u64>,
) -> Option<Spot> {
    let bytes = |tensors: &[Vec<usize>]| {
        tensors.iter().fold(0, |sum: u64, shape| sum.saturating_add(dtype.bytes(shape)))
    };
    let before = bytes(entry.shapes.get(..tensor)?);
    let all = bytes(&entry.shapes);
    match (start, format) {
        // Nothing but elements.
        (Some(start), Format::Npy | Format::Safetensors) => {
            let place = entry.at.first().filter(|place| place.length == all)?;
            Some(Spot { file: 0, offset: start.checked_add(place.offset)?.checked_add(before)? })
        }
        // Each tensor in a file of its own, at its end.
        (None, Format::Npy) => {
            let offset = entry.at.get(tensor)?.length.checked_sub(dtype.bytes(entry.shapes.get(tensor)?))?;
            Some(Spot { file: tensor, offset })
        }
        (None, Format::Safetensors) => {
            let offset = entry.at.first()?.length.checked_sub(all)?.checked_add(before)?;
            Some(Spot { file: 0, offset })
        }
        // Members are looked at.
        (Some(start), Format::Tar) => {
            Some(Spot { file: 0, offset: start.checked_add(entry.at.first()?.offset)? })
        }
        (None, Format::Tar) | (_, Format::Png) => None,
    }
}

/// Where the elements of a tensor begin in a tar, given where its entry does: its array is the member at its place. None of what is no such
/// tar.
///
/// # Errors
/// The disk fails.
pub(super) fn in_tar(file: &File, mut offset: u64, tensor: usize, bytes: u64) -> io::Result<Option<u64>> {
    const BLOCK: usize = 512;
    /// Of an array's file: how it begins, and the length of what follows.
    const HEAD: usize = 10;
    let mut members = 0;
    // A block for the member, and one with two blocks before it where its name is long.
    while members <= tensor {
        let mut block = [0; BLOCK + HEAD];
        read_exact_at(file, &mut block, offset)?;
        let header = tar::Header::from_byte_slice(&block[..BLOCK]);
        let Ok(size) = header.entry_size() else { return Ok(None) };
        let is_member = match header.entry_type() {
            tar::EntryType::Regular => true,
            tar::EntryType::XHeader => false,
            _ => return Ok(None),
        };
        let begin = offset + BLOCK as u64;
        if is_member && members == tensor {
            let Some(length) = block[BLOCK..].strip_prefix(b"\x93NUMPY\x01\x00") else { return Ok(None) };
            let head = HEAD as u64 + u64::from(u16::from_le_bytes([length[0], length[1]]));
            return Ok((size.checked_sub(head) == Some(bytes)).then_some(begin + head));
        }
        members += usize::from(is_member);
        let Some(next) = begin.checked_add(padded(size)) else { return Ok(None) };
        offset = next;
    }
    Ok(None)
}
