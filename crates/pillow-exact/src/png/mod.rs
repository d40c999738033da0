//! PNG, chunk by chunk as Pillow reads it: checksums of the chunks before the pixels are minded, those after are not; a stream that
//! ends too early is an error, one whose rows are complete is not.

mod header;
mod rows;
mod text;

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::DecodeError;
use crate::format::PNG as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster};
use crate::reader::Reader;
use header::Header;
use rows::{Layout, Rows};

const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The most bytes that Pillow hands to the decompressor at once.
const BLOCK: usize = 65_536;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(MAGIC.len());
    let mut header = Header::default();
    let data_length = loop {
        let (id, length) = next_chunk(&mut reader)?;
        match &id {
            b"IDAT" => break length,
            b"fdAT" => return Err(DecodeError::unsupported(FORMAT, "animation data before the picture")),
            b"IEND" => return Err(DecodeError::invalid(FORMAT, "no picture data")),
            _ => {}
        }
        let data = reader.take(length)?;
        header.chunk(&id, data)?;
        let mut crc = flate2::Crc::new();
        crc.update(&id);
        crc.update(data);
        if reader.u32_be()? != crc.sum() {
            return Err(DecodeError::invalid(
                FORMAT,
                format!("wrong checksum in {}", String::from_utf8_lossy(&id)),
            ));
        }
    };

    let colour =
        header.colour.ok_or_else(|| DecodeError::invalid(FORMAT, "unknown colour type or bit depth"))?;
    let (width, height) = (header.width, header.height);
    limits.check(width.into(), height.into())?;
    let layout = Layout {
        width,
        height,
        frame: header.frame.unwrap_or([0, 0, width, height]),
        interlaced: header.interlaced,
        colour,
    };
    let palette = header.palette.take().map(|data| palette(&data)).transpose()?;
    // A default image that is no frame of the animation counts beside the frames.
    let animated = header.frames.is_some_and(|frames| frames > 1 || header.frame.is_none());
    let pixels = inflate(&mut reader, data_length, layout)?;
    finish(&mut reader, &mut header, animated)?;

    let pixels = match (pixels, palette) {
        (Pixels::Indexed(indices, _), Some(palette)) => Pixels::Indexed(indices, palette),
        (pixels, _) => pixels,
    };
    Ok(Raster {
        transparency: header.transparency,
        metadata: header.texts.metadata,
        ..Raster::new(width, height, pixels)
    })
}

/// Name and length of the next chunk.
fn next_chunk(reader: &mut Reader) -> Result<([u8; 4], usize), DecodeError> {
    let length = reader.u32_be()? as usize;
    let id: [u8; 4] = reader.array()?;
    if !id.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(DecodeError::invalid(
            FORMAT,
            format!("broken chunk name {:?}", String::from_utf8_lossy(&id)),
        ));
    }
    Ok((id, length))
}

fn palette(data: &[u8]) -> Result<Box<Palette>, DecodeError> {
    if data.len() / 3 > 256 {
        return Err(DecodeError::invalid(FORMAT, "palette of more than 256 colours"));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (entry, colour) in palette.iter_mut().zip(data.chunks_exact(3)) {
        entry.copy_from_slice(colour);
    }
    Ok(palette)
}

/// Decompresses the picture data, chunk after chunk, into rows.
fn inflate(reader: &mut Reader, mut left: usize, layout: Layout) -> Result<Pixels, DecodeError> {
    let mut zlib = Decompress::new(true);
    let mut rows = Rows::new(layout)?;
    let mut filled = 0;
    loop {
        while left == 0 {
            reader.up_to(4); // its checksum, which nobody minds
            let (id, length) = next_chunk(reader)?;
            if ![b"IDAT", b"DDAT"].contains(&&id) {
                return Err(DecodeError::Truncated { format: FORMAT });
            }
            left = length;
        }
        let mut input = reader.up_to(left.min(BLOCK));
        if input.is_empty() {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
        left -= left.min(BLOCK);
        // A row is asked for at a time, so that an error in the stream counts only where Pillow would meet it.
        while !input.is_empty() {
            let row = rows.buffer();
            let (consumed, produced) = (zlib.total_in(), zlib.total_out());
            let status = zlib
                .decompress(input, &mut row[filled..], FlushDecompress::None)
                .map_err(|error| DecodeError::invalid(FORMAT, error.to_string()))?;
            input = &input[(zlib.total_in() - consumed) as usize..];
            filled += (zlib.total_out() - produced) as usize;
            if filled < row.len() {
                if status == Status::StreamEnd || zlib.total_in() == consumed {
                    break; // the rest of this block is not part of the stream
                }
                continue;
            }
            filled = 0;
            if rows.finish_row()? || status == Status::StreamEnd {
                reader.up_to(left);
                return Ok(rows.into_pixels());
            }
        }
    }
}

/// Reads the chunks after the pixels, as Pillow does when it has loaded the picture: their metadata count, their checksums do not.
fn finish(reader: &mut Reader, header: &mut Header, animated: bool) -> Result<(), DecodeError> {
    loop {
        reader.up_to(4);
        let Ok((id, length)) = next_chunk(reader) else { return Ok(()) };
        match &id {
            b"IEND" => return Ok(()),
            // The next animation frame.
            b"fcTL" if animated => return Ok(()),
            _ => header.chunk(&id, reader.take(length)?)?,
        }
    }
}
