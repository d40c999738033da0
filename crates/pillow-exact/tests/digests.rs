//! A picture of each format against the digests of what Pillow makes of it, which `fixtures/generate.py` of the repository writes.

use std::collections::HashSet;
use std::path::Path;

use pillow_exact::{Alpha, DecodeOptions, FORMATS, decode};
use sha2::{Digest, Sha256};

#[test]
fn a_picture_of_each_format_has_pillows_pixels() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let sums = std::fs::read_to_string(pictures.join("sums.txt")).expect("the digests");
    let mut formats = HashSet::new();
    for line in sums.lines() {
        let [name, white, drop] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let bytes = std::fs::read(pictures.join(name)).expect("a picture");
        for (alpha, sum) in [(Alpha::White, white), (Alpha::Drop, drop)] {
            let options = DecodeOptions { alpha, ..DecodeOptions::default() };
            let decoded = decode(&bytes, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(format!("{:x}", Sha256::digest(decoded.rgb.as_raw())), sum, "{name}, {alpha:?}");
            formats.insert(decoded.format.name());
        }
    }
    let missing: Vec<_> =
        FORMATS.iter().filter(|format| format.is_read() && !formats.contains(format.name())).collect();
    assert!(missing.is_empty(), "no picture of {missing:?}");
}
