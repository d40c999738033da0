//! Reading what somebody else has written, within bounds of memory: whole files and single lines of a reasonable size.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    path::Path,
};

/// Opens what must be a regular file. To open a pipe would wait for somebody to write to it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)? {
        kind if kind.is_file() || kind.is_dir() => File::open(path),
        _ => Err(io::Error::other("is no regular file, but a pipe, a device or a socket")),
    }
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_large = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("is larger than {limit} bytes, which no such file is"),
        )
    };
    if file.metadata()?.len() > limit {
        return Err(too_large());
    }
    // A file may grow.
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// The same of text.
pub(crate) fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("is no UTF-8 text, from byte {place} on"))
    })
}

/// What somebody else has written as a message quotes it: no more than its beginning.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A part of a stream that ends in a certain byte, or with the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its bytes with that byte, cut off at the limit.
    pub(crate) bytes: Vec<u8>,
    /// How many there were.
    pub(crate) length: u64,
}

impl Piece {
    /// Whether it is longer than the limit.
    pub(crate) fn is_cut(&self) -> bool {
        self.length > self.bytes.len() as u64
    }
}

/// Reads a piece, of which no more than `limit` bytes are kept; none at the end of the stream.
pub(crate) fn read_piece(reader: &mut dyn BufRead, end: u8, limit: usize) -> io::Result<Option<Piece>> {
    let mut piece = Piece { bytes: Vec::new(), length: 0 };
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (is_done, used) = match available.iter().position(|&byte| byte == end) {
            Some(position) => (true, position + 1),
            None => (available.is_empty(), available.len()),
        };
        piece.bytes.extend_from_slice(&available[..used.min(limit - piece.bytes.len())]);
        piece.length += used as u64;
        reader.consume(used);
        if is_done {
            return Ok((piece.length > 0).then_some(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_larger_than_the_limit_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_to_string(&path, 5).unwrap(), "12345");
        // A sparse file: nothing of it is ever in memory.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(&path, 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "is larger than 5 bytes, which no such file is");
        #[cfg(target_os = "linux")]
        assert!(read(Path::new("/dev/zero"), 1000).unwrap_err().to_string().contains("is no regular file"));
    }

    #[test]
    fn what_is_quoted_is_short() {
        assert_eq!(excerpt("äb"), "äb");
        assert_eq!(excerpt(&"ä".repeat(81)), "ä".repeat(80) + "…");
    }

    #[test]
    fn pieces_are_those_between_the_ends_and_no_longer_than_the_limit() {
        // A buffer of two bytes, so that pieces are put together.
        let mut reader = io::BufReader::with_capacity(2, &b"ab\n\nabcdefg\nxyz"[..]);
        let mut next =
            || read_piece(&mut reader, b'\n', 4).unwrap().map(|piece| (piece.is_cut(), piece.bytes));
        assert_eq!(next(), Some((false, b"ab\n".to_vec())));
        assert_eq!(next(), Some((false, b"\n".to_vec())));
        assert_eq!(next(), Some((true, b"abcd".to_vec())));
        assert_eq!(next(), Some((false, b"xyz".to_vec())));
        assert_eq!(next(), None);
    }
}
