//! From rows of MCUs to pixels, of the part of a picture that is wanted.

use std::ops::Range;

use super::libjpeg::{Colour, Failure, Planes, Session};
use super::{colour, upsample};
use crate::simd::Isa;
use crate::window::Window;
use upsample::Upsampler;

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

/// Fresh memory is the system's zeros, which take none until they are written; what is in a buffer too small is not copied.
fn size_to(samples: &mut Vec<u8>, length: usize) {
    if samples.capacity() < length {
        *samples = vec![0; length];
    } else {
        samples.resize(length, 0);
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
    size_to(samples, row * height as usize);
    for row in samples.chunks_exact_mut(row) {
        session.read_row(row)?;
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
    let row = columns.len() * if reaches.len() == 1 { 1 } else { 3 };
    size_to(samples, row * wanted.len());
    let mut mixer = Mixer { isa: Isa::best(), upsampler: Upsampler::default(), rows: Default::default() };
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
            mixer.fill(&planes, y, &columns, &mut samples[(y - wanted.start) * row..][..row]);
        }
        done = ready;
    }
    session.finish()
}

/// Puts components together.
struct Mixer {
    isa: Isa,
    upsampler: Upsampler,
    /// A row of each component.
    rows: [Vec<u8>; 3],
}

impl Mixer {
    /// Fills `pixels` with some columns of row `y`.
    fn fill(&mut self, planes: &Planes, y: usize, columns: &Range<usize>, pixels: &mut [u8]) {
        if let [_] = planes.components() {
            pixels.copy_from_slice(planes.row(0, y, columns.clone()));
            return;
        }
        let [luma, blue, red] = &mut self.rows;
        let mut row = |index, out| self.upsampler.row(self.isa, planes, index, y, columns, out);
        let (luma, blue, red) = (row(0, luma), row(1, blue), row(2, red));
        colour::to_rgb(self.isa, luma, blue, red, pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of each kind that the fixtures have.
    const PICTURES: [(&str, &[u8]); 14] = [
        ("420", include_bytes!("../../../../fixtures/images/jpeg-420.jpg")),
        ("progressive", include_bytes!("../../../../fixtures/images/jpeg-420-progressive.jpg")),
        ("422", include_bytes!("../../../../fixtures/images/jpeg-422.jpg")),
        ("440", include_bytes!("../../../../fixtures/images/jpeg-440.jpg")),
        ("411", include_bytes!("../../../../fixtures/images/jpeg-411.jpg")),
        ("rgb", include_bytes!("../../../../fixtures/images/jpeg-adobe-rgb.jpg")),
        ("restarts", include_bytes!("../../../../fixtures/images/jpeg-restart-blocks.jpg")),
        ("overflow", include_bytes!("../../../../fixtures/images/jpeg-overflow.jpg")),
        ("444", include_bytes!("../../../../fixtures/images/jpeg-444.jpg")),
        ("grey", include_bytes!("../../../../fixtures/images/jpeg-grey.jpg")),
        ("cmyk", include_bytes!("../../../../fixtures/images/jpeg-cmyk.jpg")),
        ("1x1", include_bytes!("../../../../fixtures/images/jpeg-odd-1x1.jpg")),
        ("2x3", include_bytes!("../../../../fixtures/images/jpeg-odd-2x3.jpg")),
        ("7x9", include_bytes!("../../../../fixtures/images/jpeg-odd-7x9.jpg")),
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
