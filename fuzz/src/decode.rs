//! The decoders, each kept to its own format, through every option that a picture can be decoded with.

use clip_features::pillow_exact::{Alpha, DecodeError, DecodeOptions, ExifOrientation, decode};

/// Few enough that a picture costs less than a millisecond; that larger ones are refused is a promise too.
const MAX_PIXELS: u64 = 1 << 14;

pub fn bmp(data: &[u8]) {
    of(data, |data| data.starts_with(b"BM") || data.get(1..4) == Some(&[0; 3]));
}

pub fn gif(data: &[u8]) {
    of(data, |data| data.starts_with(b"GIF8"));
}

pub fn jpeg(data: &[u8]) {
    of(data, |data| data.starts_with(b"\xff\xd8\xff"));
}

pub fn png(data: &[u8]) {
    of(data, |data| data.starts_with(b"\x89PNG"));
}

pub fn pnm(data: &[u8]) {
    of(data, |data| data.starts_with(b"P"));
}

pub fn tiff(data: &[u8]) {
    of(data, |data| data.starts_with(b"II") || data.starts_with(b"MM"));
}

pub fn webp(data: &[u8]) {
    of(data, |data| data.starts_with(b"RIFF"));
}

pub fn avif(data: &[u8]) {
    of(data, |data| data.get(4..8) == Some(b"ftyp"));
}

/// What no other target takes: TGA has no signature, and the others share a target.
pub fn rare(data: &[u8]) {
    const OTHERS: [&[u8]; 8] = [b"BM", b"GIF8", b"\xff\xd8\xff", b"\x89PNG", b"P", b"II", b"MM", b"RIFF"];
    of(data, |data| !OTHERS.iter().any(|start| data.starts_with(start)) && data.get(4..8) != Some(b"ftyp"));
}

fn of(data: &[u8], is_of: fn(&[u8]) -> bool) {
    if !is_of(data) {
        return;
    }
    // The length chooses the options, so that a file is enough to repeat a finding.
    let options = DecodeOptions {
        budget: None,
        alpha: Alpha::ALL[data.len() % 2],
        exif_orientation: ExifOrientation::ALL[data.len() / 2 % 2],
        max_pixels: MAX_PIXELS,
    };
    match decode(data, &options) {
        Ok(decoded) => {
            let pixels = u64::from(decoded.rgb.width()) * u64::from(decoded.rgb.height());
            assert!((1..=MAX_PIXELS).contains(&pixels));
        }
        // A decoder's panic is caught, as one image's failure; it is a finding all the same.
        Err(DecodeError::Panicked { reason, .. }) => panic!("{reason}"),
        Err(_) => {}
    }
}
