//! The items that a file's meta box lists (`avifParseMetaBox`): pictures, parts of pictures, metadata.

use std::collections::HashSet;

use super::boxes::{MediaBox, broken, string, unsupported};
use super::properties::{Properties, Property};
use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

/// The most items that are looked at: more than any picture has tiles.
const MOST_ITEMS: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) id: u32,
    pub(super) kind: [u8; 4],
    pub(super) is_xmp: bool,
    /// Offsets and sizes in the file, or in the box of data.
    extents: Vec<(u64, u64)>,
    in_data_box: bool,
    pub(super) properties: Properties,
    /// It has a property that must be understood and is not.
    is_strange: bool,
    has_properties: bool,
    /// What it is a part of, and its place there.
    pub(super) part_of: Option<(u32, usize)>,
    pub(super) auxiliary_of: u32,
    pub(super) description_of: u32,
    thumbnail_of: u32,
    /// The alpha that its colours were multiplied by.
    pub(super) multiplied_by: u32,
    has_parts: bool,
}

impl Item {
    fn size(&self) -> u64 {
        self.extents.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// Whether it holds nothing that is read as a picture (`avifDecoderItemShouldBeSkipped`).
    pub(super) fn is_skipped(&self) -> bool {
        self.size() == 0
            || self.is_strange
            || !matches!(&self.kind, b"av01" | b"grid")
            || self.thumbnail_of != 0
    }

    /// Whether it is of use as metadata.
    pub(super) fn is_metadata(&self) -> bool {
        self.size() != 0 && !self.is_strange
    }

    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        self.properties.find(|property| match property {
            Property::Size(width, height) => Some((*width, *height)),
            _ => None,
        })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Items<'a> {
    pub(super) all: Vec<Item>,
    pub(super) primary: u32,
    data: &'a [u8],
}

impl<'a> Items<'a> {
    pub(super) fn read(meta: &MediaBox<'a>) -> Result<Self, DecodeError> {
        let (version, _, reader) = meta.versioned()?;
        if version != 0 {
            return Err(broken("an unknown version of the meta box"));
        }
        let mut items = Self::default();
        let mut seen = HashSet::new();
        for (index, part) in MediaBox::all(reader.rest())?.iter().enumerate() {
            if (index == 0) != (&part.kind == b"hdlr") {
                return Err(broken("no handler at the beginning of the meta box, or two"));
            }
            let is_unique =
                matches!(&part.kind, b"iloc" | b"pitm" | b"idat" | b"iprp" | b"iinf" | b"iref" | b"grpl");
            if is_unique && !seen.insert(part.kind) {
                return Err(broken("two boxes of a kind in the meta box"));
            }
            match &part.kind {
                b"hdlr" => handler(part)?,
                b"iloc" => items.locations(part)?,
                b"pitm" => {
                    let (version, _, mut reader) = part.versioned()?;
                    items.primary = id(&mut reader, version > 0)?;
                }
                b"idat" => items.data = part.body,
                b"iprp" => items.properties(part)?,
                b"iinf" => items.information(part)?,
                b"iref" => items.references(part)?,
                b"grpl" if MediaBox::all(part.body)?.iter().any(|group| &group.kind == b"pymd") => {
                    return Err(unsupported("a pyramid of pictures"));
                }
                _ => {}
            }
        }
        if seen.is_empty() {
            return Err(broken("an empty meta box"));
        }
        Ok(items)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Item> {
        self.all.iter().find(|item| item.id == id)
    }

    fn entry(&mut self, id: u32) -> Result<&mut Item, DecodeError> {
        let index = match self.all.iter().position(|item| item.id == id) {
            Some(index) => index,
            None if self.all.len() == MOST_ITEMS => return Err(unsupported("so many items")),
            None => {
                self.all.push(Item { id, ..Item::default() });
                self.all.len() - 1
            }
        };
        Ok(&mut self.all[index])
    }

    fn locations(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        let (version, _, mut reader) = part.versioned()?;
        let [sizes, more] = reader.array()?;
        let (offset_size, length_size, base_size) = (sizes >> 4, sizes & 0xf, more >> 4);
        let index_size = if version > 0 { more & 0xf } else { 0 };
        if version > 2
            || [offset_size, length_size, base_size, index_size].iter().any(|size| ![0, 4, 8].contains(size))
        {
            return Err(broken("an unknown kind of item locations"));
        }
        let count = if version < 2 { reader.u16_be()?.into() } else { reader.u32_be()? };
        for _ in 0..count {
            let item = self.entry(id(&mut reader, version == 2)?)?;
            if !item.extents.is_empty() {
                return Err(broken("two locations of an item"));
            }
            if version > 0 {
                match reader.u16_be()? {
                    method @ 0..=1 => item.in_data_box |= method == 1,
                    _ => return Err(unsupported("items inside of items")),
                }
            }
            reader.u16_be()?;
            let base = number(&mut reader, base_size)?;
            for _ in 0..reader.u16_be()? {
                number(&mut reader, index_size)?;
                let offset = base.checked_add(number(&mut reader, offset_size)?);
                let offset = offset.ok_or_else(|| broken("an offset beyond all files"))?;
                item.extents.push((offset, number(&mut reader, length_size)?));
            }
        }
        Ok(())
    }

    fn information(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        let (version, _, mut reader) = part.versioned()?;
        let count = match version {
            0 => reader.u16_be()?.into(),
            1 => reader.u32_be()?,
            _ => return Err(broken("an unknown version of the item information")),
        };
        for _ in 0..count {
            let entry = MediaBox::read(&mut reader, false)?;
            let (version, _, mut fields) = entry.versioned()?;
            if &entry.kind != b"infe" || !(2..=3).contains(&version) {
                return Err(broken("an unknown kind of item information"));
            }
            let item = self.entry(id(&mut fields, version == 3)?)?;
            fields.u16_be()?;
            item.kind = fields.array()?;
            string(&mut fields)?;
            item.is_xmp = &item.kind == b"mime" && string(&mut fields)? == b"application/rdf+xml";
        }
        Ok(())
    }

    fn references(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        let (version, _, reader) = part.versioned()?;
        if version > 1 {
            return Ok(());
        }
        for reference in MediaBox::all(reader.rest())? {
            let mut fields = Reader::new(reference.body, FORMAT);
            let from = id(&mut fields, version == 1)?;
            let item = self.entry(from)?;
            if &reference.kind == b"dimg" && std::mem::replace(&mut item.has_parts, true) {
                return Err(broken("two lists of an item's parts"));
            }
            for place in 0..usize::from(fields.u16_be()?) {
                let to = id(&mut fields, version == 1)?;
                match &reference.kind {
                    b"thmb" => self.entry(from)?.thumbnail_of = to,
                    b"auxl" => self.entry(from)?.auxiliary_of = to,
                    b"cdsc" => self.entry(from)?.description_of = to,
                    b"prem" => self.entry(from)?.multiplied_by = to,
                    b"dimg" => {
                        let part = self.entry(to)?;
                        if part.part_of.is_some() {
                            return Err(unsupported("an item that is a part twice"));
                        }
                        part.part_of = Some((from, place));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn properties(&mut self, part: &MediaBox) -> Result<(), DecodeError> {
        let parts = MediaBox::all(part.body)?;
        let [container, associations @ ..] = parts.as_slice() else {
            return Err(broken("no properties"));
        };
        if &container.kind != b"ipco" {
            return Err(broken("no box of properties"));
        }
        let boxes = MediaBox::all(container.body)?;
        let all: Vec<Property> =
            boxes.iter().map(|part| Property::read(part, false)).collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        for association in associations {
            let (version, flags, mut reader) = association.versioned()?;
            if &association.kind != b"ipma" || !seen.insert((version, flags)) || version > 1 {
                return Err(broken("another box among the associations of properties"));
            }
            let mut last = 0;
            for _ in 0..reader.u32_be()? {
                let id = id(&mut reader, version == 1)?;
                if id <= last {
                    return Err(broken("associations of properties without order"));
                }
                last = id;
                let item = self.entry(id)?;
                if std::mem::replace(&mut item.has_properties, true) {
                    return Err(broken("two associations of an item"));
                }
                for _ in 0..reader.byte()? {
                    let (is_essential, index) = match flags & 1 {
                        0 => {
                            let byte = reader.byte()?;
                            (byte & 0x80 != 0, usize::from(byte & 0x7f))
                        }
                        _ => {
                            let word = reader.u16_be()?;
                            (word & 0x8000 != 0, usize::from(word & 0x7fff))
                        }
                    };
                    item.associate(&all, index, is_essential)?;
                }
            }
        }
        Ok(())
    }

    /// An item's bytes, in one piece.
    pub(super) fn bytes(&self, file: &'a [u8], item: &Item) -> Result<Vec<u8>, DecodeError> {
        let source = if item.in_data_box { self.data } else { file };
        if item.size() > file.len() as u64
            || item.size() == 0
            || item.extents.iter().any(|extent| extent.1 == 0)
        {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
        let mut bytes = Vec::with_capacity(item.size() as usize);
        for &(offset, size) in &item.extents {
            let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
            let extent = end.and_then(|end| source.get(offset as usize..end));
            bytes.extend_from_slice(extent.ok_or(DecodeError::Truncated { format: FORMAT })?);
        }
        Ok(bytes)
    }
}

impl Item {
    fn associate(&mut self, all: &[Property], index: usize, is_essential: bool) -> Result<(), DecodeError> {
        let Some(index) = index.checked_sub(1) else {
            return if is_essential { Err(broken("no property that is essential")) } else { Ok(()) };
        };
        let property = all.get(index).ok_or_else(|| broken("a property that is not there"))?;
        match property {
            Property::Unknown => self.is_strange |= is_essential,
            Property::Layers(_) if is_essential => return Err(broken("layers that are essential")),
            Property::Selector | Property::CleanAperture(_) | Property::Rotation(_) | Property::Mirror(_)
                if !is_essential =>
            {
                return Err(broken("a property that must be essential"));
            }
            property => self.properties.0.push(property.clone()),
        }
        Ok(())
    }
}

/// The handler must be that of pictures.
fn handler(part: &MediaBox) -> Result<(), DecodeError> {
    let (version, _, mut reader) = part.versioned()?;
    let [defined, kind] = [reader.array::<4>()?, reader.array::<4>()?];
    reader.take(12)?;
    string(&mut reader)?;
    if version != 0 || defined != [0; 4] || &kind != b"pict" {
        return Err(broken("another handler than that of pictures"));
    }
    Ok(())
}

/// An item's number, which is not 0.
fn id(reader: &mut Reader, is_wide: bool) -> Result<u32, DecodeError> {
    match if is_wide { reader.u32_be()? } else { reader.u16_be()?.into() } {
        0 => Err(broken("an item of number 0")),
        id => Ok(id),
    }
}

fn number(reader: &mut Reader, size: u8) -> Result<u64, DecodeError> {
    Ok(match size {
        0 => 0,
        4 => reader.u32_be()?.into(),
        _ => u64::from(reader.u32_be()?) << 32 | u64::from(reader.u32_be()?),
    })
}
