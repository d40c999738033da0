//! Boxes of an ISO media file, each with a type and a body.

use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

/// A box.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaBox<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
}

impl<'a> MediaBox<'a> {
    /// The boxes of a body, of which nothing may be left over.
    pub(super) fn all(body: &'a [u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(body, FORMAT);
        let mut boxes = Vec::new();
        while !reader.rest().is_empty() {
            boxes.push(Self::read(&mut reader, false)?);
        }
        Ok(boxes)
    }

    /// The next box. On the file's own level one may have no size: then it is the last.
    pub(super) fn read(reader: &mut Reader<'a>, is_outer: bool) -> Result<Self, DecodeError> {
        let start = reader.position();
        let size = reader.u32_be()?;
        let kind = reader.array()?;
        let size = match size {
            1 => u64::from(reader.u32_be()?) << 32 | u64::from(reader.u32_be()?),
            size => size.into(),
        };
        if &kind == b"uuid" {
            reader.take(16)?;
        }
        if size == 0 && is_outer {
            return Ok(Self { kind, body: reader.up_to(usize::MAX) });
        }
        let head = (reader.position() - start) as u64;
        let length = size.checked_sub(head).ok_or_else(|| broken("a box that is smaller than its head"))?;
        let body = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Self { kind, body })
    }

    /// Its body with the version and the flags that it begins with.
    pub(super) fn versioned(&self) -> Result<(u8, u32, Reader<'a>), DecodeError> {
        let mut reader = Reader::new(self.body, FORMAT);
        let word = reader.u32_be()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff, reader))
    }
}

pub(super) fn broken(reason: &str) -> DecodeError {
    DecodeError::invalid(FORMAT, reason)
}

pub(super) fn unsupported(feature: &str) -> DecodeError {
    DecodeError::unsupported(FORMAT, feature)
}

/// A string that ends with a zero, which must be there.
pub(super) fn string<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let rest = reader.rest();
    let end = rest.iter().position(|&byte| byte == 0).ok_or(DecodeError::Truncated { format: FORMAT })?;
    reader.up_to(end + 1);
    Ok(&rest[..end])
}
