//! From rows of MCUs to pixels, of the part of a picture that is wanted.

use std::ops::Range;

use super::libjpeg::{Colour, Failure, Planes, Session};
use super::{colour, upsample};
use crate::simd::Isa;
use crate::window::Window;
use upsample::Room;

/// Rows beside those of pixels that upsampling may look at.
const NEIGHBOURS: usize = 2;

/// The samples of a JPEG file inside `window`, put into `samples`, (height, width, samples of a pixel), read as Pillow reads them;
/// and the window that they really are of, at least as large. All of the file is decoded up to its coefficients, so that what is damaged
/// outside of the window is refused too.
///
/// # Errors
/// When libjpeg refuses the file, does not find `size`, width and height, in it, or needs more bytes.
pub(super) fn decode(
    bytes: &[u8],
    size: (u32, u32),
    colour: Colour,
    window: &Window,
    samples: &mut Vec<u8>,
) -> Result<Window, Failure> {
    let session = Session::open(bytes)?;
    decode_by(session, size, colour, window, samples)
}

fn decode_by(
    session: Session<'_>,
    size: (u32, u32),
    colour: Colour,
    window: &Window,
    samples: &mut Vec<u8>,
) -> Result<Window, Failure> {
    if session.size() != size {
        return Err(Failure::OtherSize);
    }
    let Some(planes) = session.planes(colour) else {
        rows(session, size, colour, samples)?;
        return Ok(Window::full(size.0, size.1));
    };
    let inside = |range: &Range<u32>, edge: u32| {
        let start = range.start.min(edge);
        start..range.end.clamp(start, edge)
    };
    let (rows, columns) = (inside(&window.rows, size.1), inside(&window.columns, size.0));
    // Upsampling makes two columns of one.
    let window = Window { rows, columns: columns.start & !1..columns.end };
    part(session, planes, size.1 as usize, &window, samples)?;
    Ok(window)
}

/// Empties a buffer and makes room in it, of which none is taken until it is written; what is in one too small is not copied.
fn make_room(samples: &mut Vec<u8>, length: usize) {
    samples.clear();
    if samples.capacity() < length {
        *samples = Vec::with_capacity(length);
    }
}

/// The whole, with libjpeg's own upsampling and colours: for the kinds of pictures that are rare.
fn rows(
    mut session: Session<'_>,
    (width, height): (u32, u32),
    colour: Colour,
    samples: &mut Vec<u8>,
) -> Result<(), Failure> {
    session.start(colour)?;
    let row = width as usize * colour.samples();
    make_room(samples, row * height as usize);
    for _ in 0..height {
        // The row is in the cache when it is filled.
        let before = samples.len();
        samples.resize(before + row, 0);
        session.read_row(&mut samples[before..])?;
    }
    session.finish()
}

/// The part inside `window`, in grey or in colours.
fn part(
    mut session: Session<'_>,
    mut planes: Planes,
    height: usize,
    window: &Window,
    samples: &mut Vec<u8>,
) -> Result<(), Failure> {
    let range = |range: &Range<u32>| range.start as usize..range.end as usize;
    let (wanted, columns) = (range(&window.rows), range(&window.columns));
    let reaches: Vec<_> =
        planes.components().iter().map(|component| upsample::reach(component, &columns)).collect();
    session.start_planes(&reaches)?;
    make_room(samples, columns.len() * wanted.len() * if reaches.len() == 1 { 1 } else { 3 });
    let mut mixer = Mixer { isa: Isa::best(), rooms: Default::default() };
    let group_rows = planes.group_rows();
    // The last row of a group waits for the next group's first, where rows are upsampled.
    let waiting = usize::from(planes.components().iter().any(|component| component.step.1 > 1));
    let mut done = 0;
    for group in 0..height.div_ceil(group_rows) {
        let end = ((group + 1) * group_rows).min(height);
        let is_wanted = group * group_rows < wanted.end + NEIGHBOURS && end + NEIGHBOURS > wanted.start;
        session.read_planes(&mut planes, group, is_wanted)?;
        let ready = if end == height { height } else { end - waiting };
        for y in wanted.start.max(done)..wanted.end.min(ready) {
            mixer.append(&planes, y, &columns, samples);
        }
        done = ready;
    }
    session.finish()
}

/// Puts components together.
struct Mixer {
    isa: Isa,
    /// For a row of each component.
    rooms: [Room; 3],
}

impl Mixer {
    /// Appends some columns of row `y` to `pixels`.
    fn append(&mut self, planes: &Planes, y: usize, columns: &Range<usize>, pixels: &mut Vec<u8>) {
        let isa = self.isa;
        let [_, blue, red] = planes.components() else {
            return pixels.extend_from_slice(planes.row(0, y, columns.clone()));
        };
        let [of_luma, of_blue, of_red] = &mut self.rooms;
        let luma = upsample::row(isa, planes, 0, y, columns, of_luma);
        if blue.step.0 == 2 && red.step == blue.step {
            let blue_sums = upsample::sums(isa, planes, 1, y, columns, of_blue);
            let red_sums = upsample::sums(isa, planes, 2, y, columns, of_red);
            if blue.step.1 == 1 {
                colour::stretched_to_rgb::<1, 2, 2>(isa, luma, blue_sums, red_sums, pixels);
            } else {
                colour::stretched_to_rgb::<8, 7, 4>(isa, luma, blue_sums, red_sums, pixels);
            }
        } else {
            let blue = upsample::row(isa, planes, 1, y, columns, of_blue);
            let red = upsample::row(isa, planes, 2, y, columns, of_red);
            colour::to_rgb(isa, luma, blue, red, pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of each kind that the fixtures have.
    const PICTURES: [(&str, &[u8]); 14] = [
        ("420", include_bytes!("../../tests/pictures/jpeg-420.jpg")),
        ("progressive", include_bytes!("../../tests/pictures/jpeg-420-progressive.jpg")),
        ("422", include_bytes!("../../tests/pictures/jpeg-422.jpg")),
        ("440", include_bytes!("../../tests/pictures/jpeg-440.jpg")),
        ("411", include_bytes!("../../tests/pictures/jpeg-411.jpg")),
        ("rgb", include_bytes!("../../tests/pictures/jpeg-adobe-rgb.jpg")),
        ("restarts", include_bytes!("../../tests/pictures/jpeg-restart-blocks.jpg")),
        ("overflow", include_bytes!("../../tests/pictures/jpeg-overflow.jpg")),
        ("444", include_bytes!("../../tests/pictures/jpeg-444.jpg")),
        ("grey", include_bytes!("../../tests/pictures/jpeg-grey.jpg")),
        ("cmyk", include_bytes!("../../tests/pictures/jpeg-cmyk.jpg")),
        ("1x1", include_bytes!("../../tests/pictures/jpeg-odd-1x1.jpg")),
        ("2x3", include_bytes!("../../tests/pictures/jpeg-odd-2x3.jpg")),
        ("7x9", include_bytes!("../../tests/pictures/jpeg-odd-7x9.jpg")),
    ];

    fn open(name: &str, bytes: &[u8]) -> ((u32, u32), Colour) {
        let size = Session::open(bytes).expect("a header").size();
        let colour = match name {
            "grey" => Colour::Grey,
            "cmyk" => Colour::Cmyk,
            _ => Colour::Rgb,
        };
        (size, colour)
    }

    #[test]
    fn pixels_are_those_of_libjpegs_own_upsampling_and_colours() {
        for (name, bytes) in PICTURES {
            let (size, colour) = open(name, bytes);
            let (mut ours, mut theirs) = (vec![7; 5], Vec::new());
            let window = decode(bytes, size, colour, &Window::full(size.0, size.1), &mut ours).expect(name);
            rows(Session::open(bytes).expect(name), size, colour, &mut theirs).expect(name);
            assert_eq!(window, Window::full(size.0, size.1), "{name}");
            assert!(ours == theirs, "{name}");
        }
    }

    /// The header of a picture up to its only scan, of another size.
    fn header(bytes: &[u8], width: u16, height: u16) -> Vec<u8> {
        let after = |marker: u8| {
            let mut at = 2;
            while bytes[at + 1] != marker {
                at += 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            }
            at + 4
        };
        let (frame, scan) = (after(0xc0), after(0xda));
        let mut header =
            bytes[..scan - 2 + usize::from(u16::from_be_bytes([bytes[scan - 2], bytes[scan - 1]]))].to_vec();
        header[frame + 1..frame + 3].copy_from_slice(&height.to_be_bytes());
        header[frame + 3..frame + 5].copy_from_slice(&width.to_be_bytes());
        header
    }

    #[test]
    fn coefficients_by_tables_are_libjpegs() {
        let mut random = 0x9e37_79b9_u64;
        let mut any = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as usize % below
        };
        let (mut whole, mut refused) = (0, 0);
        let sequential =
            |(name, _): &&(&str, &[u8])| !["progressive", "restarts", "1x1", "2x3", "7x9"].contains(name);
        for (name, bytes) in PICTURES.iter().filter(sequential) {
            let (_, colour) = open(name, bytes);
            for round in 0..24 {
                let (width, height) = (16 + any(500), 16 + any(300));
                let mut picture = header(bytes, width as u16, height as u16);
                if *name == "grey" && round % 2 == 1 {
                    // One component may say that it has several samples where another has one.
                    let sampling =
                        picture.windows(2).position(|pair| pair == b"\xff\xc0").expect("a frame") + 11;
                    assert_eq!(picture[sampling], 0x11);
                    picture[sampling] = [0x22, 0x12][round / 2 % 2];
                }
                // Whatever the bits are, they are codes of something; here and there there is a marker, or the end.
                let (length, rare) = (5_000 + any(200_000), [usize::MAX, 1000, 20_000][round % 3]);
                for _ in 0..length {
                    let byte = if round % 4 == 0 { any(256) & any(256) } else { any(256) } as u8;
                    picture.push(byte);
                    if byte == 0xff {
                        let is_marker = rare != usize::MAX && any(rare) < 256;
                        picture.push(if is_marker { [0xd9, 0xd0, 0xff, 0x12][any(4)] } else { 0 });
                    }
                }
                picture.extend(&b"\xff\xd9"[..any(3)]);
                let size = (width as u32, height as u32);
                let full = Window::full(size.0, size.1);
                let decoded = |session: Result<Session<'_>, Failure>| {
                    let mut samples = Vec::new();
                    let decoded = session
                        .and_then(|session| decode_by(session, size, colour, &full, &mut samples))
                        .map_err(|failure| format!("{failure:?}"));
                    (decoded, samples)
                };
                let same = |picture: &[u8]| {
                    let ours = decoded(Session::open(picture));
                    let theirs = decoded(Session::open_plain(picture));
                    assert!(ours == theirs, "{name} {round}: {:?} {:?}", ours.0, theirs.0);
                    ours.0.is_ok()
                };
                if !same(&picture) {
                    refused += 1;
                    continue;
                }
                whole += 1;
                // The fewest bytes that are enough: those that are read ahead count.
                let is_enough = |length: &usize| decoded(Session::open_plain(&picture[..*length])).0.is_ok();
                let lengths: Vec<usize> = (0..picture.len()).collect();
                let fewest = lengths.partition_point(|length| !is_enough(length));
                for length in fewest.saturating_sub(9)..(fewest + 9).min(picture.len()) {
                    same(&picture[..length]);
                }
            }
        }
        assert!(whole > 50 && refused > 50, "{whole} {refused}");
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        for (name, bytes) in PICTURES {
            let (size, colour) = open(name, bytes);
            let mut whole = Vec::new();
            rows(Session::open(bytes).expect(name), size, colour, &mut whole).expect(name);
            let spans = |edge: u32| {
                let starts = (0..edge).step_by(1 + edge as usize / 13);
                starts.flat_map(move |start| {
                    [start + 1, start + 9, edge].map(move |end| start..end.min(edge).max(start + 1))
                })
            };
            let mut part = Vec::new();
            for rows in spans(size.1) {
                for columns in spans(size.0) {
                    let asked = Window { rows: rows.clone(), columns };
                    let found = decode(bytes, size, colour, &asked, &mut part).expect(name);
                    assert!(found.holds(&asked), "{name} {asked:?} {found:?}");
                    let samples = colour.samples();
                    let width = found.columns.len() * samples;
                    for (row, line) in found.rows.clone().zip(part.chunks_exact(width)) {
                        let start = (row * size.0 + found.columns.start) as usize * samples;
                        assert!(*line == whole[start..start + width], "{name} {asked:?} row {row}");
                    }
                }
            }
        }
    }
}
