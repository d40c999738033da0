//! The bytes of a shard, unpacked where it is compressed.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// As much is read of what stands behind a tar to find its checksum: more than any blocking factor pads it to.
const LARGEST_REST: u64 = 64 << 20;

/// A shard's bytes. Members of a gzip stream follow one another; what follows them and is none is passed over, as gunzip does.
pub(super) enum Unpacked<R> {
    Plain(R),
    /// The member that is read; none after the last.
    Gzip(Option<Box<GzDecoder<R>>>),
}

impl<R: BufRead> Unpacked<R> {
    /// Looks at the beginning; none if there is nothing at all.
    pub(super) fn new(mut source: R) -> io::Result<Option<Self>> {
        let start = source.fill_buf()?;
        let (is_empty, is_packed) = (start.is_empty(), start.starts_with(&GZIP));
        Ok((!is_empty).then(|| match is_packed {
            true => Self::Gzip(Some(Box::new(GzDecoder::new(source)))),
            false => Self::Plain(source),
        }))
    }

    /// Reads a gzip member to its end, where its checksum and its length stand. Of one that does not end, neither is known.
    ///
    /// # Errors
    /// They are not those of what was read, or it is cut.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let Self::Gzip(Some(member)) = self else { return Ok(()) };
        io::copy(&mut member.take(LARGEST_REST), &mut io::sink()).map(drop)
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let member = match self {
            Self::Plain(source) => return source.read(buffer),
            Self::Gzip(member) => member,
        };
        loop {
            let Some(current) = member else { return Ok(0) };
            let count = current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut rest = member.take().expect("it was read").into_inner();
            let start = rest.fill_buf()?;
            // Of the next member's first bytes, one may have come without the other.
            if start.starts_with(&GZIP) || start == &GZIP[..1] {
                *member = Some(Box::new(GzDecoder::new(rest)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, read::GzEncoder};

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(bytes, Compression::none()).read_to_end(&mut packed).unwrap();
        packed
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        Unpacked::new(bytes)?.expect("it is not empty").read_to_end(&mut found)?;
        Ok(found)
    }

    #[test]
    fn members_follow_one_another_and_what_is_none_is_passed_over() {
        let both = [packed(b"one, "), packed(b"two")].concat();
        for end in [&b""[..], &[0; 5], b"garbage"] {
            assert_eq!(unpacked(&[&both[..], end].concat()).unwrap(), b"one, two");
        }
        assert!(unpacked(&both[..both.len() - 1]).is_err());
        assert_eq!(unpacked(b"plain").unwrap(), b"plain");
        assert!(Unpacked::new(&b""[..]).unwrap().is_none());
    }

    #[test]
    fn a_checksum_is_checked_without_the_rest_of_the_stream() {
        let mut first = packed(&[7; 100]);
        let check = |bytes: &[u8]| {
            let mut unpacked = Unpacked::new(bytes).unwrap().unwrap();
            unpacked.read_exact(&mut [0; 50]).unwrap();
            unpacked.check()
        };
        check(&[&first[..], &[0x1f, 0x8b, 0xff]].concat()).unwrap();
        check(&first[..first.len() - 1]).unwrap_err();
        // Still a stored block, of other bytes.
        first[60] ^= 1;
        check(&first).unwrap_err();
        // Too far away to be looked for.
        let mut long = packed(&vec![7; 50 + (LARGEST_REST as usize) + 1]);
        long[60] ^= 1;
        check(&long).unwrap();
    }
}
