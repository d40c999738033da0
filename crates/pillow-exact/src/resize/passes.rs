//! Both passes of a resize, interwoven: a row is used by the second while it is still in the cache from the first, and what lies
//! between them takes the memory of a few rows.

use std::ops::Range;

use super::canvas::Canvas;
use super::kernel::{self, CHANNELS, Channels, ROWS, SLACK};
use super::taps::Taps;
use crate::simd::Isa;

/// Rows of pixels that a pass reads.
pub trait Rows {
    /// Part of a row. Where its pixels do not lie side by side, they are put together in `composed`.
    fn row<'s>(&'s self, row: usize, columns: &Range<usize>, composed: &'s mut Vec<u8>) -> &'s [u8];

    /// Whether a row has nothing of a picture, so that it is the same as all others of which this is true.
    fn is_blank(&self, row: usize) -> bool;
}

/// The part of a picture that some taps make, (rows, columns, channels). Without taps for an edge, its `wanted` indices are left as they
/// are.
pub fn filter(
    source: &Canvas<'_>,
    (columns, rows): (Option<&Taps>, Option<&Taps>),
    wanted: (Range<usize>, Range<usize>),
    vertical_first: bool,
) -> Vec<u8> {
    filter_with(Isa::best(), source, (columns, rows), wanted, vertical_first)
}

pub(super) fn filter_with(
    isa: Isa,
    source: &Canvas<'_>,
    (columns, rows): (Option<&Taps>, Option<&Taps>),
    wanted: (Range<usize>, Range<usize>),
    vertical_first: bool,
) -> Vec<u8> {
    let reach = (columns.map_or(wanted.0, Taps::reach), rows.map_or(wanted.1, Taps::reach));
    let width = columns.map_or(reach.0.len(), Taps::len);
    let height = rows.map_or(reach.1.len(), Taps::len);
    let mut out = Vec::with_capacity(width * height * CHANNELS);
    match (columns, rows) {
        (None, None) => {
            let mut composed = Vec::new();
            for row in reach.1 {
                out.extend_from_slice(source.row(row, &reach.0, &mut composed));
            }
        }
        (None, Some(rows)) => {
            let mut down = Down::new(isa, source, reach.0, rows);
            (0..height).for_each(|output| {
                let start = out.len();
                out.resize(start + width * CHANNELS, 0);
                down.fill(output, &mut out[start..]);
            });
        }
        (Some(columns), Some(rows)) if vertical_first => {
            let mut down = Down::new(isa, source, reach.0.clone(), rows);
            let bytes = reach.0.len() * CHANNELS;
            let mut across = Across::new(isa, columns, reach.0);
            across.all(
                0..height,
                |output, line| down.fill(output, &mut line[..bytes]),
                |row| {
                    out.extend_from_slice(row);
                },
            );
        }
        (Some(columns), None) => {
            let mut read = Reader::new(source, reach.0.clone());
            let mut across = Across::new(isa, columns, reach.0);
            let mut blank: Option<Range<usize>> = None;
            for group in groups(reach.1) {
                if group.clone().all(|row| source.is_blank(row)) {
                    // One blank row is as good as another.
                    let (start, count) = (out.len(), group.len());
                    let done = blank.get_or_insert_with(|| {
                        across.all(
                            group.start..group.start + 1,
                            |row, line| read.fill(row, line),
                            |row| {
                                out.extend_from_slice(row);
                            },
                        );
                        start..start + width * CHANNELS
                    });
                    while out.len() < start + count * width * CHANNELS {
                        out.extend_from_within(done.clone());
                    }
                } else {
                    across.all(group, |row, line| read.fill(row, line), |row| out.extend_from_slice(row));
                }
            }
        }
        (Some(columns), Some(rows)) => {
            let mut ring = Ring::new(isa, source, columns, reach.0, &reach.1, rows);
            let mut sums = Vec::new();
            for output in 0..height {
                let (first, count) = rows.bounds[output];
                ring.reach(first, first + count);
                let lines: Vec<&[u8]> = (first..first + count).map(|row| ring.row(row)).collect();
                let start = out.len();
                out.resize(start + width * CHANNELS, 0);
                kernel::down(isa, rows, output, &lines, &mut out[start..], &mut sums);
            }
        }
    }
    out
}

/// Indices in the numbers that are filtered side by side.
fn groups(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS).map(move |start| start..(start + ROWS).min(end))
}

/// Reads rows of the source.
struct Reader<'a> {
    source: &'a Canvas<'a>,
    columns: Range<usize>,
    composed: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Canvas<'a>, columns: Range<usize>) -> Self {
        Self { source, columns, composed: Vec::new() }
    }

    fn fill(&mut self, row: usize, line: &mut [u8]) {
        let pixels = self.source.row(row, &self.columns, &mut self.composed);
        line[..pixels.len()].copy_from_slice(pixels);
    }
}

/// Filters rows along.
struct Across<'a> {
    isa: Isa,
    taps: &'a Taps,
    /// The column that lines begin with.
    first: usize,
    lines: [Vec<u8>; ROWS],
    out: [Vec<u8>; ROWS],
    channels: Channels,
}

impl<'a> Across<'a> {
    fn new(isa: Isa, taps: &'a Taps, columns: Range<usize>) -> Self {
        let room = |pixels: usize| [(); ROWS].map(|()| vec![0; pixels * CHANNELS + SLACK]);
        let (lines, out) = (room(columns.len()), room(taps.len()));
        Self { isa, taps, first: columns.start, lines, out, channels: Channels::default() }
    }

    /// Filters rows, which `read` puts into a line one after the other, and gives each to `take`.
    fn all(
        &mut self,
        rows: Range<usize>,
        mut read: impl FnMut(usize, &mut [u8]),
        mut take: impl FnMut(&[u8]),
    ) {
        for group in groups(rows) {
            for (line, row) in self.lines.iter_mut().zip(group.clone()) {
                read(row, line);
            }
            let out = self.out.each_mut().map(Vec::as_mut_slice);
            kernel::across(self.isa, self.taps, self.first, &self.lines, out, &mut self.channels);
            for out in &self.out[..group.len()] {
                take(&out[..self.taps.len() * CHANNELS]);
            }
        }
    }
}

/// Sums rows of the source.
struct Down<'a> {
    isa: Isa,
    source: &'a Canvas<'a>,
    columns: Range<usize>,
    taps: &'a Taps,
    composed: Vec<Vec<u8>>,
    sums: Vec<i32>,
}

impl<'a> Down<'a> {
    fn new(isa: Isa, source: &'a Canvas<'a>, columns: Range<usize>, taps: &'a Taps) -> Self {
        Self { isa, source, columns, taps, composed: vec![Vec::new(); taps.longest()], sums: Vec::new() }
    }

    fn fill(&mut self, output: usize, out: &mut [u8]) {
        let (first, count) = self.taps.bounds[output];
        let rows: Vec<&[u8]> = (first..first + count)
            .zip(&mut self.composed)
            .map(|(row, composed)| self.source.row(row, &self.columns, composed))
            .collect();
        kernel::down(self.isa, self.taps, output, &rows, out, &mut self.sums);
    }
}

/// The rows that the vertical pass needs next, filtered along.
struct Ring<'a> {
    across: Across<'a>,
    read: Reader<'a>,
    /// Row `r` is the one at `r` modulo their number.
    rows: Vec<Vec<u8>>,
    /// The next row to be made.
    next: usize,
    end: usize,
    /// What a blank row becomes.
    blank: Option<Vec<u8>>,
}

impl<'a> Ring<'a> {
    fn new(
        isa: Isa,
        source: &'a Canvas<'a>,
        columns: &'a Taps,
        reach: Range<usize>,
        needed: &Range<usize>,
        rows: &Taps,
    ) -> Self {
        let count = (rows.longest() + ROWS).min(needed.len().next_multiple_of(ROWS));
        Self {
            across: Across::new(isa, columns, reach.clone()),
            read: Reader::new(source, reach),
            rows: vec![Vec::new(); count],
            next: needed.start,
            end: needed.end,
            blank: None,
        }
    }

    /// Makes the rows before `end`; those before `start` are needed no more.
    fn reach(&mut self, start: usize, end: usize) {
        // Rows between the taps of two outputs are needed by none.
        self.next = self.next.max(start.min(self.end));
        while self.next < end {
            let group = self.next..(self.next + ROWS).min(self.end);
            self.next = group.end;
            let count = self.rows.len();
            if group.clone().all(|row| self.read.source.is_blank(row)) {
                let blank = self.blank.get_or_insert_with(|| {
                    let mut blank = Vec::new();
                    let row = group.start..group.start + 1;
                    self.across.all(row, |row, line| self.read.fill(row, line), |row| blank = row.to_vec());
                    blank
                });
                group.for_each(|row| self.rows[row % count].clone_from(blank));
                continue;
            }
            let mut row = group.start;
            self.across.all(
                group,
                |row, line| self.read.fill(row, line),
                |pixels| {
                    let target = &mut self.rows[row % count];
                    target.clear();
                    target.extend_from_slice(pixels);
                    row += 1;
                },
            );
        }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.rows[row % self.rows.len()]
    }
}
