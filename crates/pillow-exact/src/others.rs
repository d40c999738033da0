//! What is found under a picture's name and is none, so that an error can say what it is.

/// As much of a file as tells what it is, or that no decoder takes it.
pub const START: usize = 1024;

pub(crate) const LFS_POINTER: &str = "a Git LFS pointer";

/// Whether a file that begins so is of a kind.
type Begins = fn(&[u8]) -> bool;

/// Kinds of files with their articles, the surest first.
const KINDS: &[(&str, Begins)] = &[
    ("a bzip2 archive", |start| start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY")),
    ("an xz archive", |start| start.starts_with(b"\xfd7zXZ\0")),
    ("a Zstandard archive", |start| start.starts_with(b"\x28\xb5\x2f\xfd")),
    ("an LZ4 archive", |start| start.starts_with(b"\x04\x22\x4d\x18")),
    ("a gzip archive", |start| start.starts_with(b"\x1f\x8b\x08")),
    ("a ZIP archive", |start| start.starts_with(b"PK\x03\x04")),
    ("a 7-Zip archive", |start| start.starts_with(b"7z\xbc\xaf\x27\x1c")),
    ("a tar", |start| start.get(257..262) == Some(b"ustar")),
    ("a NumPy array", |start| start.starts_with(b"\x93NUMPY")),
    ("an MP4 or QuickTime video", |start| {
        start.get(4..8) == Some(b"ftyp")
            && !matches!(start.get(8..12), Some(b"avif" | b"avis" | b"mif1" | b"msf1"))
    }),
    ("a WebM or Matroska video", |start| start.starts_with(b"\x1a\x45\xdf\xa3")),
    ("an AVI video", |start| start.starts_with(b"RIFF") && start.get(8..12) == Some(b"AVI ")),
    (LFS_POINTER, |start| start.starts_with(b"version https://git-lfs.github.com/spec/")),
    ("an HTML page", |start| {
        let text = first_words(start);
        [&b"<!doctype html"[..], b"<html", b"<head", b"<body"].iter().any(|tag| begins_with(text, tag))
    }),
    ("an XML text", |start| begins_with(first_words(start), b"<?xml")),
    ("a JSON text", |start| is_json(first_words(start))),
    ("a file of zeros", |start| !start.is_empty() && start.iter().all(|&byte| byte == 0)),
];

/// What a file that begins so is, with its article; none where that is not known here.
pub fn kind_of(start: &[u8]) -> Option<&'static str> {
    let start = &start[..start.len().min(START)];
    KINDS.iter().find(|(_, begins)| begins(start)).map(|(name, _)| *name)
}

/// A text without what may stand before its first word: a mark of its encoding, and spaces.
fn first_words(start: &[u8]) -> &[u8] {
    start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start()
}

fn begins_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether a text begins as an object, or a list of values, does.
fn is_json(text: &[u8]) -> bool {
    let (Some(first), rest) = (text.first(), text.get(1..).unwrap_or_default().trim_ascii_start()) else {
        return false;
    };
    match (first, rest.first()) {
        (b'{', next) => matches!(next, Some(b'"' | b'}')),
        (b'[', next) => matches!(next, Some(b'{' | b'[' | b'"' | b']' | b'-' | b'0'..=b'9')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeOptions, FORMATS, decode};

    const EXAMPLES: &[(&[u8], &str)] = &[
        (b"BZh91AY&SY\x5d", "a bzip2 archive"),
        (b"\xfd7zXZ\0\0\x04", "an xz archive"),
        (b"\x28\xb5\x2f\xfd\x04", "a Zstandard archive"),
        (b"\x04\x22\x4d\x18", "an LZ4 archive"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"7z\xbc\xaf\x27\x1c\0", "a 7-Zip archive"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "an MP4 or QuickTime video"),
        (b"\x1a\x45\xdf\xa3\x01", "a WebM or Matroska video"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"\xef\xbb\xbf\n  <HTML lang=\"en\">", "an HTML page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "an XML text"),
        (b"{\"message\": \"Not found\"}", "a JSON text"),
        (b"[\n  {", "a JSON text"),
        (b"\0\0\0\0\0\0\0", "a file of zeros"),
    ];

    #[test]
    fn what_is_no_picture_is_told_as_what_it_is() {
        for &(start, kind) in EXAMPLES {
            assert_eq!(kind_of(start), Some(kind), "{kind}");
            let message = decode(start, &DecodeOptions::default()).expect_err(kind).to_string();
            assert!(message.starts_with(&format!("{kind}, not ")), "{message}");
        }
        let mut tar = [b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(kind_of(&tar), Some("a tar"));
        for start in
            [&b""[..], b"a text", b"{ no JSON", b"[see below]", b"BM", b"\x89PNG\r\n\x1a\n", b"\0\0\x01\0"]
        {
            assert_eq!(kind_of(start), None, "{start:?}");
        }
    }

    #[test]
    fn no_kind_is_that_of_a_picture() {
        for &(start, kind) in EXAMPLES {
            let format =
                FORMATS.iter().find(|format| format.decoder().is_some_and(|one| (one.matches)(start)));
            assert!(format.is_none(), "{kind} is read as {format:?}");
        }
    }
}
