//! What a codestream promises, looked at before OpenJPEG reserves memory for it.

use crate::error::DecodeError;
use crate::format::JPEG_2000 as FORMAT;
use crate::reader::Reader;

use super::cut::{Coding, Cut, Size};
use super::{BOXES, CODESTREAM, broken, unsupported};

mod marker {
    pub(super) const SIZE: u16 = 0xff51;
    pub(super) const CODING: u16 = 0xff52;
    pub(super) const COMPONENT_CODING: u16 = 0xff53;
    pub(super) const PROGRESSIONS: u16 = 0xff5f;
    pub(super) const TILE: u16 = 0xff90;
    pub(super) const DATA: u16 = 0xff93;
    pub(super) const END: u16 = 0xffd9;

    /// Those with a segment that OpenJPEG knows. Of another it does not heed the length, but looks behind it for one that it knows.
    pub(super) fn is_known(kind: u16) -> bool {
        matches!(kind, 0xff50..=0xff53 | 0xff55 | 0xff57..=0xff59 | 0xff5c..=0xff61 | 0xff63 | 0xff64 | TILE)
            || matches!(kind, 0xff74 | 0xff75 | 0xff77 | 0xff78)
    }
}

/// A tile in the file takes at least a header of 12 bytes and the marker behind it.
const TILE: u64 = 14;

/// The bytes that a pixel takes at the most. An error where what the pixels are cut into would take more time or memory than they.
pub(super) fn bytes_per_pixel(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(start(bytes)? + 2);
    let mut cut: Option<Cut> = None;
    let mut end_of_part = None;
    // What breaks off is refused by OpenJPEG.
    while let Ok(kind) = reader.u16_be() {
        let at = reader.position();
        match (kind, end_of_part) {
            // The length of a part may be too short for its own header.
            (marker::DATA, Some(end)) => {
                reader.seek(at.max(end));
                continue;
            }
            (marker::DATA, None) | (marker::END | ..0xff00, _) => break,
            _ if !marker::is_known(kind) => return Err(unsupported(&format!("marker {kind:04x}"))),
            _ => {}
        }
        let Ok(length) = reader.u16_be() else { break };
        let mut segment = Reader::new(reader.up_to(usize::from(length).saturating_sub(2)), FORMAT);
        match (kind, &mut cut) {
            (marker::SIZE, _) => {
                let size = Size::read(&mut segment)?;
                if size.components > 4 {
                    return Err(unsupported("more than 4 components"));
                }
                if size.tiles() > bytes.len() as u64 / TILE {
                    return Err(broken("more tiles than the file can hold"));
                }
                cut = Some(Cut::new(size));
            }
            (marker::TILE, _) => {
                segment.take(2)?;
                let length = segment.u32_be()? as usize;
                end_of_part = (length != 0).then_some(at - 2 + length);
            }
            (marker::CODING, Some(cut)) => {
                if let Ok(coding) = Coding::of_all(&mut segment) {
                    cut.take(&coding);
                }
            }
            (marker::COMPONENT_CODING, Some(cut)) => {
                if let Ok(coding) = Coding::of_one(&mut segment) {
                    cut.take(&coding);
                }
            }
            (marker::PROGRESSIONS, Some(cut)) => cut.take_progressions(segment.rest().len()),
            _ => {}
        }
    }
    // OpenJPEG refuses one without a size.
    cut.map_or(Ok(0), |cut| cut.bytes_per_pixel(bytes.len() as u64))
}

/// Where the codestream starts.
fn start(bytes: &[u8]) -> Result<usize, DecodeError> {
    if bytes.starts_with(CODESTREAM) {
        return Ok(0);
    }
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(BOXES.len());
    loop {
        let at = reader.position() as u64;
        let length = u64::from(reader.u32_be()?);
        let kind: [u8; 4] = reader.array()?;
        let length = if length == 1 { u64::from_be_bytes(reader.array()?) } else { length };
        if &kind == b"jp2c" {
            return Ok(reader.position());
        }
        let next = at.saturating_add(length);
        if next < reader.position() as u64 {
            return Err(broken("a box of no length"));
        }
        reader.seek(usize::try_from(next).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header of three components says.
    #[derive(Clone, Copy)]
    struct Said {
        edge: u32,
        tile: u32,
        layers: u16,
        /// Exponents of a code-block's edges beyond 2, and of precincts' at each of six resolutions.
        block: [u8; 2],
        precincts: [u8; 6],
        /// Bytes in all.
        length: usize,
    }

    const SAID: Said =
        Said { edge: 128, tile: 128, layers: 1, block: [4, 4], precincts: [0x77; 6], length: 1_000 };

    impl Said {
        fn size(self) -> Vec<u8> {
            let (edge, tile) = (self.edge, self.tile);
            let mut bytes = marker::SIZE.to_be_bytes().to_vec();
            bytes.extend([0, 47, 0, 0]);
            bytes.extend([edge, edge, 0, 0, tile, tile, 0, 0].map(u32::to_be_bytes).as_flattened());
            bytes.extend([0, 3, 7, 1, 1, 7, 1, 1, 7, 1, 1]);
            bytes
        }

        fn coding(self) -> Vec<u8> {
            let mut bytes = marker::CODING.to_be_bytes().to_vec();
            bytes.extend([0, 18, 1, 0]);
            bytes.extend(self.layers.to_be_bytes());
            bytes.extend([1, 5, self.block[0], self.block[1], 0, 1]);
            bytes.extend(self.precincts);
            bytes
        }

        /// The same for one component.
        fn of_a_component(self) -> Vec<u8> {
            let mut bytes = marker::COMPONENT_CODING.to_be_bytes().to_vec();
            bytes.extend([0, 15, 1, 1, 5, self.block[0], self.block[1], 0, 1]);
            bytes.extend(self.precincts);
            bytes
        }

        fn with(self, segments: &[Vec<u8>]) -> Result<u64, String> {
            let mut bytes = [b"\xff\x4f".to_vec(), self.size(), segments.concat()].concat();
            bytes.extend(marker::DATA.to_be_bytes());
            bytes.resize(bytes.len().max(self.length), 0);
            bytes_per_pixel(&bytes).map_err(|error| error.to_string())
        }

        fn alone(self) -> Result<u64, String> {
            self.with(&[self.coding()])
        }
    }

    fn is_refused(said: Result<u64, String>, why: &str) -> bool {
        said.is_err_and(|reason| reason.contains(why))
    }

    #[test]
    fn what_a_file_cannot_hold_is_refused() {
        let pixel = SAID.alone().expect("a picture");
        assert!((32..50).contains(&pixel), "{pixel}");
        // A short file may have quite a few.
        assert!(Said { layers: 10_000, ..SAID }.alone().is_ok());
        assert!(is_refused(Said { layers: u16::MAX, ..SAID }.alone(), "more packets than the file can hold"));
        assert!(Said { layers: u16::MAX, length: 300_000, ..SAID }.alone().is_ok());
        // What tiles there are, each has.
        let tiled = Said { tile: 16, layers: 300, ..SAID };
        assert!(is_refused(tiled.alone(), "more packets than the file can hold"));
        assert!(is_refused(Said { tile: 1, ..SAID }.alone(), "more tiles than the file can hold"));
        // Of precincts of one pixel there are as many as pixels.
        let fine = Said { edge: 1 << 12, tile: 1 << 12, ..SAID };
        assert!(is_refused(Said { precincts: [0; 6], length: 1 << 25, ..fine }.alone(), "so many precincts"));
        assert!(is_refused(
            Said { edge: u32::MAX, tile: u32::MAX, precincts: [0; 6], ..SAID }.alone(),
            "packets"
        ));
        // A white picture has a packet of one byte for each precinct: 18,024 in three components.
        let white =
            Said { edge: 8_200, tile: 4_096, layers: 12, precincts: [0x88; 6], length: 54_300, ..SAID };
        assert!(white.alone().is_ok());
    }

    #[test]
    fn places_are_counted_over_all_components() {
        // Neither is much alone: precincts two pixels wide of all rows, and two pixels high of all columns.
        let said = Said { edge: 1 << 12, tile: 1 << 12, ..SAID };
        let [columns, rows] = [0xf1, 0x1f].map(|precinct| Said { precincts: [precinct; 6], ..said });
        assert!(columns.alone().is_ok() && rows.alone().is_ok());
        let both = [columns.coding(), rows.of_a_component()];
        assert!(is_refused(columns.with(&both), "so many precincts"));
        // They are gone through once for each progression.
        let progressions =
            [marker::PROGRESSIONS.to_be_bytes().to_vec(), vec![0, 2 + 7 * 31], vec![0; 7 * 31]].concat();
        assert!(is_refused(columns.with(&[columns.coding(), progressions]), "packets"));
    }

    #[test]
    fn blocks_no_larger_than_their_precincts_take_memory() {
        // Blocks of a column and four rows in place of 64 x 64.
        let narrow =
            Said { edge: 512, tile: 512, block: [4, 0], precincts: [0xf1; 6], length: 1 << 20, ..SAID };
        let (narrow, usual) =
            (narrow.alone().expect("a picture"), Said { edge: 512, tile: 512, ..SAID }.alone());
        assert!(usual.expect("a picture") < 40 && narrow > 300, "{narrow}");
    }

    #[test]
    fn nothing_hides_a_coding() {
        let many = Said { layers: u16::MAX, ..SAID };
        let hidden = many.coding();
        // In what has the length of a segment, and is none for OpenJPEG.
        let unknown = [vec![0xff, 0x30, 0, 2 + hidden.len() as u8], hidden.clone()].concat();
        assert!(is_refused(SAID.with(&[SAID.coding(), unknown]), "marker ff30"));
        // Behind a part of a tile without data, and behind one whose length is shorter than its header.
        for length in [14, 12] {
            let part = |index| [&[0xff, 0x90, 0, 10, 0, 0, 0, 0, 0, length], &[index, 2][..]].concat();
            let data = marker::DATA.to_be_bytes().to_vec();
            let parts = [SAID.coding(), part(0), data, part(1), hidden.clone()];
            assert!(is_refused(SAID.with(&parts), "more packets than the file can hold"), "{length}");
        }
        // What follows the end is nothing.
        assert!(SAID.with(&[SAID.coding(), marker::END.to_be_bytes().to_vec(), hidden]).is_ok());
    }
}
