//! The first picture of a sequence, from the tracks of a file's moov box (`avifParseMovieBox`).

use super::boxes::{MediaBox, broken, unsupported};
use super::items::Items;
use super::properties::{Properties, Property};
use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

/// The most pictures of a sequence that are looked for.
const MOST_SAMPLES: u32 = 1 << 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Track<'a> {
    pub(super) id: u32,
    pub(super) size: (u32, u32),
    pub(super) auxiliary_of: u32,
    pub(super) multiplied_by: u32,
    pub(super) properties: Properties,
    pub(super) items: Option<Items<'a>>,
    is_av1: bool,
    chunks: Vec<u64>,
    /// First chunk and samples a chunk, from there on.
    runs: Vec<(u32, u32)>,
    /// The size of all samples, or of each.
    same_size: u32,
    sizes: Vec<u32>,
}

impl<'a> Track<'a> {
    /// All tracks.
    pub(super) fn read_all(moov: &MediaBox<'a>) -> Result<Vec<Self>, DecodeError> {
        let boxes = MediaBox::all(moov.body)?;
        boxes.iter().filter(|part| &part.kind == b"trak").map(Self::read).collect()
    }

    fn read(part: &MediaBox<'a>) -> Result<Self, DecodeError> {
        let mut track = Self::default();
        for part in MediaBox::all(part.body)? {
            match &part.kind {
                b"tkhd" => track.header(&part)?,
                b"meta" => track.items = Some(Items::read(&part)?),
                b"mdia" => track.media(&part)?,
                b"tref" => track.references(&part)?,
                _ => {}
            }
        }
        Ok(track)
    }

    /// Whether it has pictures of AV1.
    pub(super) fn has_pictures(&self) -> bool {
        self.id != 0 && self.is_av1 && !self.chunks.is_empty()
    }

    fn header(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        let (version, _, mut reader) = part.versioned()?;
        let (before, after) = match version {
            0 => (8, 8),
            1 => (16, 12),
            _ => return Err(broken("an unknown version of a track's header")),
        };
        reader.take(before)?;
        self.id = reader.u32_be()?;
        reader.take(after + 52)?;
        self.size = (reader.u32_be()? >> 16, reader.u32_be()? >> 16);
        if self.id == 0 {
            return Err(broken("a track without number"));
        }
        Ok(())
    }

    fn references(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        for reference in MediaBox::all(part.body)? {
            let mut reader = Reader::new(reference.body, FORMAT);
            match &reference.kind {
                b"auxl" => self.auxiliary_of = reader.u32_be()?,
                b"prem" => self.multiplied_by = reader.u32_be()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn media(&mut self, part: &MediaBox<'a>) -> Result<(), DecodeError> {
        for part in MediaBox::all(part.body)?.iter().filter(|part| &part.kind == b"minf") {
            for part in MediaBox::all(part.body)?.iter().filter(|part| &part.kind == b"stbl") {
                for part in MediaBox::all(part.body)? {
                    self.table(&part)?;
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, part: &MediaBox<'a>) -> Result<(), DecodeError> {
        let is_known = matches!(&part.kind, b"stco" | b"co64" | b"stsc" | b"stsz" | b"stss" | b"stts");
        if !is_known && &part.kind != b"stsd" {
            return Ok(());
        }
        let (version, _, mut reader) = part.versioned()?;
        if version > u8::from(!is_known) {
            return Err(broken("an unknown version of a table of pictures"));
        }
        match &part.kind {
            b"stco" | b"co64" => {
                for _ in 0..reader.u32_be()? {
                    let high = if &part.kind == b"co64" { reader.u32_be()? } else { 0 };
                    self.chunks.push(u64::from(high) << 32 | u64::from(reader.u32_be()?));
                }
            }
            b"stsc" => {
                let mut last = 0;
                for _ in 0..reader.u32_be()? {
                    let (first, samples, _) = (reader.u32_be()?, reader.u32_be()?, reader.u32_be()?);
                    if first <= last || (last == 0 && first != 1) {
                        return Err(broken("runs of chunks without order"));
                    }
                    last = first;
                    self.runs.push((first, samples));
                }
            }
            // Which pictures stand by themselves, and how long each is shown.
            b"stss" | b"stts" => {
                let size = if &part.kind == b"stss" { 4 } else { 8 };
                for _ in 0..reader.u32_be()? {
                    reader.take(size)?;
                }
            }
            b"stsz" => {
                self.same_size = reader.u32_be()?;
                let count = reader.u32_be()?;
                if self.same_size == 0 {
                    for _ in 0..count {
                        self.sizes.push(reader.u32_be()?);
                    }
                }
            }
            _ => {
                let count = reader.u32_be()?;
                for _ in 0..count {
                    let entry = MediaBox::read(&mut reader, false)?;
                    if &entry.kind == b"av01" {
                        if self.is_av1 {
                            return Err(unsupported("several descriptions of a track"));
                        }
                        self.is_av1 = true;
                        // The fields of a visual sample.
                        let mut fields = Reader::new(entry.body, FORMAT);
                        fields.take(78)?;
                        for part in MediaBox::all(fields.rest())? {
                            self.properties.0.push(Property::read(&part, true)?);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The bytes of the first picture. Those of all others must be in the file too (`avifCodecDecodeInputFillFromSampleTable`).
    pub(super) fn first(&self, file: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeError::Truncated { format: FORMAT };
        let (mut first, mut index) = (None, 0u32);
        for (chunk, &start) in (1u32..).zip(&self.chunks) {
            let run = self.runs.iter().rev().find(|run| run.0 <= chunk);
            let samples = run.map_or(0, |run| run.1);
            if samples == 0 || samples > MOST_SAMPLES - index {
                return Err(broken("a chunk of no pictures, or of too many"));
            }
            let mut at = start;
            for _ in 0..samples {
                let size = match self.same_size {
                    0 => *self.sizes.get(index as usize).ok_or_else(|| broken("a picture without a size"))?,
                    size => size,
                };
                let end = at.checked_add(size.into()).filter(|&end| size > 0 && end <= file.len() as u64);
                let Some(end) = end else { return Err(truncated) };
                first.get_or_insert((at as usize, end as usize));
                at = end;
                index += 1;
            }
        }
        first.map(|(start, end)| &file[start..end]).ok_or(truncated)
    }
}
