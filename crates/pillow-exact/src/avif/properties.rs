//! What the boxes of properties say of a picture, or of a sequence.

use super::boxes::{MediaBox, broken, unsupported};
use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

/// A property. Those that change no pixel are not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Size(u32, u32),
    /// Of the bitstream: everything but its sequence header.
    Config(Config),
    Colours(Colours),
    Profile,
    /// Depths of the planes.
    Depths(Vec<u8>),
    /// What an auxiliary picture is.
    Auxiliary(Vec<u8>),
    /// Quarter turns to the left.
    Rotation(u8),
    /// The axis that it is mirrored at.
    Mirror(u8),
    CleanAperture(Vec<u8>),
    /// An operating point, or a layer.
    Selector,
    /// Where the layers of a bitstream end.
    Layers([u32; 3]),
    /// Known, of no effect here.
    Passed,
    Unknown,
}

/// The fields of a codec configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    profile_and_level: u8,
    /// Tier, two bits of depth, monochrome, two bits of subsampling, two bits of the position of chroma.
    flags: u8,
}

impl Config {
    pub(super) fn depth(self) -> u8 {
        match (self.flags & 0x40 != 0, self.flags & 0x20 != 0) {
            (true, true) => 12,
            (true, false) => 10,
            (false, _) => 8,
        }
    }

    pub(super) fn is_monochrome(self) -> bool {
        self.flags & 0x10 != 0
    }

    /// Across and down.
    pub(super) fn subsampling(self) -> (bool, bool) {
        (self.flags & 0x08 != 0, self.flags & 0x04 != 0)
    }
}

/// How samples become colours, in the numbers of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colours {
    pub(super) primaries: u16,
    pub(super) matrix: u16,
    pub(super) is_full_range: bool,
}

impl Property {
    /// `is_track` is of the boxes in a sequence, where auxiliary pictures are told in another box.
    pub(super) fn read(part: &MediaBox, is_track: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(part.body, FORMAT);
        let auxiliary = if is_track { b"auxi" } else { b"auxC" };
        Ok(match &part.kind {
            b"ispe" => {
                let mut reader = enforced(part)?;
                Self::Size(reader.u32_be()?, reader.u32_be()?)
            }
            b"av1C" => {
                let [marker, profile_and_level, flags, _] = reader.array()?;
                if marker != 0x81 {
                    return Err(broken("an unknown version of the codec's configuration"));
                }
                Self::Config(Config { profile_and_level, flags })
            }
            b"colr" => match &reader.array()? {
                b"nclx" => {
                    let (primaries, _transfer, matrix) =
                        (reader.u16_be()?, reader.u16_be()?, reader.u16_be()?);
                    let range = reader.byte()?;
                    if range & 0x7f != 0 {
                        return Err(broken("reserved bits in the colours"));
                    }
                    Self::Colours(Colours { primaries, matrix, is_full_range: range & 0x80 != 0 })
                }
                b"rICC" | b"prof" => Self::Profile,
                _ => Self::Passed,
            },
            b"pixi" => {
                let mut reader = enforced(part)?;
                let count = reader.byte()?;
                if !(1..=4).contains(&count) {
                    return Err(broken("a number of planes"));
                }
                let depths = reader.take(count.into())?.to_vec();
                if depths.iter().any(|&depth| depth != depths[0]) {
                    return Err(unsupported("planes of different depths"));
                }
                Self::Depths(depths)
            }
            kind if kind == auxiliary => {
                let mut reader = enforced(part)?;
                Self::Auxiliary(super::boxes::string(&mut reader)?.to_vec())
            }
            b"irot" => match reader.byte()? {
                angle @ 0..=3 => Self::Rotation(angle),
                _ => return Err(broken("reserved bits in a rotation")),
            },
            b"imir" => match reader.byte()? {
                axis @ 0..=1 => Self::Mirror(axis),
                _ => return Err(broken("reserved bits in a mirror")),
            },
            b"clap" => Self::CleanAperture(reader.take(32)?.to_vec()),
            b"a1op" | b"lsel" => Self::Selector,
            b"a1lx" => {
                let is_large = match reader.byte()? {
                    large @ 0..=1 => large == 1,
                    _ => return Err(broken("reserved bits in the layers")),
                };
                let mut size = || if is_large { reader.u32_be() } else { reader.u16_be().map(u32::from) };
                Self::Layers([size()?, size()?, size()?])
            }
            b"pasp" => {
                reader.take(8)?;
                Self::Passed
            }
            b"clli" => {
                reader.take(4)?;
                Self::Passed
            }
            _ => Self::Unknown,
        })
    }
}

/// The body of a box that has one version.
fn enforced<'a>(part: &MediaBox<'a>) -> Result<Reader<'a>, DecodeError> {
    match part.versioned()? {
        (0, _, reader) => Ok(reader),
        _ => Err(broken("an unknown version of a property")),
    }
}

/// Properties of one picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties(pub(super) Vec<Property>);

impl Properties {
    /// The first that `pick` takes.
    pub(super) fn find<T>(&self, pick: impl FnMut(&Property) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    pub(super) fn config(&self) -> Result<Config, DecodeError> {
        let found = self.find(|property| match property {
            Property::Config(config) => Some(*config),
            _ => None,
        });
        found.ok_or_else(|| broken("no configuration of the codec"))
    }

    /// The colours that are stated; twice is once too often, as is a second profile.
    pub(super) fn colours(&self) -> Result<Option<Colours>, DecodeError> {
        if self.0.iter().filter(|property| **property == Property::Profile).count() > 1 {
            return Err(broken("two colour profiles"));
        }
        let mut stated = self.0.iter().filter_map(|property| match property {
            Property::Colours(colours) => Some(*colours),
            _ => None,
        });
        match (stated.next(), stated.next()) {
            (_, Some(_)) => Err(broken("two statements of colours")),
            (stated, None) => Ok(stated),
        }
    }

    pub(super) fn is_alpha(&self) -> bool {
        let kind = self.find(|property| match property {
            Property::Auxiliary(kind) => Some(kind.clone()),
            _ => None,
        });
        kind.is_some_and(|kind| {
            kind == b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" || kind == b"urn:mpeg:hevc:2015:auxid:1"
        })
    }

    /// Quarter turns to the left, and the axis of a mirror.
    pub(super) fn turn(&self) -> (Option<u8>, Option<u8>) {
        let rotation = self.find(|property| match property {
            Property::Rotation(angle) => Some(*angle),
            _ => None,
        });
        let mirror = self.find(|property| match property {
            Property::Mirror(axis) => Some(*axis),
            _ => None,
        });
        (rotation, mirror)
    }

    fn aperture(&self) -> Option<Vec<u8>> {
        self.find(|property| match property {
            Property::CleanAperture(aperture) => Some(aperture.clone()),
            _ => None,
        })
    }

    /// Of alpha: whether it is cropped and turned as the colours are, or not at all (`avifDecoderCheckAlphaProperties`).
    pub(super) fn fits(&self, colours: &Self) -> bool {
        let own = (self.aperture(), self.turn());
        own == (None, (None, None)) || own == (colours.aperture(), colours.turn())
    }
}
