//! Where the first picture of a file ends, of the formats that say so without their pixels being decoded.

use crate::format;
use crate::formats::Format;

/// The bytes behind a picture, where these begin a picture themselves: Pillow reads the first one, and passes over the rest. Those that a
/// format has for itself, such as the frames of an animation or the pictures of an MPO, are none.
pub fn followed_by<'a>(bytes: &'a [u8], format: &Format) -> Option<&'a [u8]> {
    let end = match format.name() {
        format::PNG => png(bytes),
        format::JPEG => jpeg(bytes),
        format::GIF => gif(bytes),
        format::WEBP => webp(bytes),
        format::BMP => bmp(bytes),
        _ => None,
    };
    bytes.get(end?..).filter(|rest| !rest.is_empty())
}

/// Chunks of a length, a name, that many bytes and a checksum, up to `IEND`.
fn png(bytes: &[u8]) -> Option<usize> {
    let mut at = 8_usize;
    loop {
        let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
        let name = bytes.get(at + 4..at + 8)?;
        at = at.checked_add(length)?.checked_add(12)?;
        if name == b"IEND" {
            return Some(at);
        }
    }
}

/// Segments with their lengths, and between them the bytes of scans, in which `ff` is followed by a zero or by the mark of a restart.
fn jpeg(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += memchr::memchr(0xff, bytes.get(at..)?)?;
        match *bytes.get(at + 1)? {
            // Fill bytes may stand before a marker.
            0xff => at += 1,
            0 | 1 | 0xd0..=0xd8 => at += 2,
            0xd9 => return Some(at + 2),
            // What lists the pictures of an MPO, which all belong to the file.
            0xe2 if bytes.get(at + 4..at + 8) == Some(b"MPF\0") => return None,
            _ => at += 2 + usize::from(u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?)),
        }
    }
}

/// Extensions and pictures in blocks of at most 255 bytes, up to a semicolon.
fn gif(bytes: &[u8]) -> Option<usize> {
    let palette = |flags: u8| if flags & 0x80 != 0 { 3 << (1 + (flags & 7)) } else { 0 };
    let mut at = 13 + palette(*bytes.get(10)?);
    loop {
        at += match bytes.get(at)? {
            b';' => return Some(at + 1),
            b'!' => 2,
            b',' => 11 + palette(*bytes.get(at + 9)?),
            _ => return None,
        };
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

/// The length stands in the header, and is padded to an even one.
fn webp(bytes: &[u8]) -> Option<usize> {
    (u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize).checked_add(8)?.checked_next_multiple_of(2)
}

/// The file's length stands in the header.
fn bmp(bytes: &[u8]) -> Option<usize> {
    let length = bytes.strip_prefix(b"BM")?.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
    // Many a writer leaves it out.
    length.filter(|&length| length > 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_follows_a_picture_is_found_in_each_format() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images");
        let mut seen = std::collections::BTreeMap::new();
        for entry in fs::read_dir(folder).expect("the fixtures") {
            let path = entry.expect("an entry").path();
            // Directories are among them.
            let Ok(bytes) = fs::read(&path) else { continue };
            let Some(format) = Format::of(&bytes) else { continue };
            if followed_by(&bytes, format).is_some_and(crate::looks_like_image) {
                panic!("{}: has a second picture", path.display());
            }
            let second = &b"\x89PNG\r\n\x1a\n and so on"[..];
            let both = [&bytes[..], second].concat();
            // What is cut, or stands behind bytes of its own, has no end that is known.
            if followed_by(&both, format) == Some(second) {
                *seen.entry(format.name()).or_insert(0) += 1;
            }
        }
        for format in [format::PNG, format::JPEG, format::GIF, format::WEBP, format::BMP] {
            assert!(seen.get(format).is_some_and(|&count| count > 3), "{format}: {seen:?}");
        }
    }
}
