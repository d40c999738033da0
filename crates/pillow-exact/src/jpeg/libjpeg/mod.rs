//! JPEG samples through libjpeg, with the inverse DCT of the libjpeg that the reference runs.
//!
//! mozjpeg's C sources are driven directly, for the inverse DCT can be replaced there alone: see [`idct`].

// A C library is called, and called back from.
#![allow(unsafe_code)]

mod failure;
mod idct;
#[cfg(target_arch = "x86_64")]
mod idct_avx2;
#[cfg(target_arch = "x86_64")]
mod idct_avx512;
#[cfg(target_arch = "aarch64")]
mod idct_neon;
mod planes;
mod runs;
mod session;
mod shared;
mod source;

pub(super) use failure::Failure;
pub(super) use planes::{Component, Planes};
pub(super) use session::{Colour, Session};

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &[u8] = include_bytes!("../../../tests/pictures/jpeg-420.jpg");
    const PROGRESSIVE: &[u8] = include_bytes!("../../../tests/pictures/jpeg-420-progressive.jpg");

    /// All samples, with libjpeg's own upsampling and colours.
    fn decode(bytes: &[u8], colour: Colour) -> Result<Vec<u8>, Failure> {
        let mut session = Session::open(bytes)?;
        let (width, height) = session.size();
        session.start(colour)?;
        let mut samples = vec![0; (width * height) as usize * colour.samples()];
        for row in samples.chunks_exact_mut(width as usize * colour.samples()) {
            session.read_row(row)?;
        }
        session.finish()?;
        Ok(samples)
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        decode(bytes, Colour::Rgb)
    }

    #[test]
    fn samples_come_in_the_colours_asked_for() {
        assert_eq!(read(PICTURE).unwrap().len(), 61 * 43 * 3);
        assert_eq!(decode(PICTURE, Colour::Grey).unwrap().len(), 61 * 43);
        assert_eq!(
            decode(PICTURE, Colour::Cmyk),
            Err(Failure::Broken("Unsupported color conversion request".to_owned()))
        );
    }

    #[test]
    fn a_file_that_ends_early_is_truncated_wherever_it_does() {
        for picture in [PICTURE, PROGRESSIVE] {
            for length in 0..picture.len() - 40 {
                assert_eq!(read(&picture[..length]), Err(Failure::Truncated), "at {length}");
            }
        }
    }

    /// What Pillow 13.0.0 makes of each of these.
    #[test]
    fn what_follows_a_complete_picture_may_be_cut_but_not_wrong() {
        let cut = PICTURE.strip_suffix(b"\xff\xd9").expect("an end marker");
        let complete = read(PICTURE).unwrap();
        let with_end = |end: &[u8]| read(&[cut, end].concat());
        // The last block is decoded with an eye on the byte that follows.
        for end in [&b""[..], b"\xff"] {
            assert_eq!(with_end(end), Err(Failure::Truncated), "{end:02x?}");
        }
        for end in [&b"\xff\xdb"[..], b"\xff\xdb\0\x43\0", b"\xff\xe0\xff\xff\0", b"\xff\xda\0"] {
            assert!(with_end(end) == Ok(complete.clone()), "{end:02x?}");
        }
        for end in [&b"\xff\xc4\0\x05\x99"[..], b"\xff\xdd\0\x03", b"\xff\xc5"] {
            assert!(matches!(with_end(end), Err(Failure::Broken(_))), "{end:02x?}");
        }
        for end in [&b"\xff\xc0"[..], b"\xff\xc9\0\x11", b"\xff\xc2\0\x11\x08\0\x2b\0\x3d\x03"] {
            let refused = Err(Failure::Broken("Invalid JPEG file structure: two SOF markers".to_owned()));
            assert_eq!(with_end(end), refused, "{end:02x?}");
        }
    }
}
