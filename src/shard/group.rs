//! The members of one sample, as they come, and the image to take of them.

use std::{
    io::{self, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use pillow_exact::looks_like_image;
use tar::Entry;

use super::{
    names::has_image_extension,
    not_read::NotRead,
    sample::{Kept, Sample, Selection},
};

/// Members larger than this are refused, as files of that size are.
const LARGEST_MEMBER: u64 = 2 << 30;
const LARGER: &str = "larger than 2 GiB";

/// More images of one sample than are told apart.
const MOST_IMAGES: usize = 64;

/// The image of a sample.
#[derive(Debug)]
pub(crate) struct Found {
    /// The image's path in the shard, without root and `..`.
    pub(crate) member: PathBuf,
    /// Where its header stands in the unpacked shard.
    pub(crate) offset: u64,
    /// Its bytes, or why the sample cannot be used.
    pub(crate) image: Result<Vec<u8>, Unusable>,
    pub(crate) sample: Sample,
}

/// Why no image can be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// The system could not read it.
    Unreadable(String),
    /// It is damaged, or none that can be taken.
    Damaged(String),
    /// A sample has several, of which none is chosen.
    SeveralImages(String),
}

impl Unusable {
    pub(crate) fn reason(&self) -> &str {
        let (Self::Unreadable(reason) | Self::Damaged(reason) | Self::SeveralImages(reason)) = self;
        reason
    }
}

/// An image that may be taken.
struct Image {
    /// Its place among the extensions to take.
    rank: usize,
    member: PathBuf,
    offset: u64,
    bytes: Result<Vec<u8>, String>,
}

/// The members of one key.
#[derive(Default)]
pub(super) struct Group {
    pub(super) key: String,
    /// The image to take.
    image: Option<Image>,
    /// The extensions of all images that might be meant.
    images: Vec<String>,
    kept: Vec<Kept>,
    /// What is to be carried over, and is too large for that.
    too_large: Option<String>,
}

impl Group {
    pub(super) fn of(key: String) -> Self {
        Self { key, ..Self::default() }
    }

    /// Whether it has one of each member that is to be carried over.
    pub(super) fn has_all(&self, selection: &Selection) -> bool {
        self.kept.len() == selection.keep.len()
    }

    /// Takes the next member.
    ///
    /// # Errors
    /// The shard cannot be read. A member that cannot be used costs its sample alone.
    pub(super) fn take(
        &mut self,
        path: PathBuf,
        extension: String,
        entry: &mut Entry<'_, impl Read>,
        selection: &Selection,
        not_read: &mut NotRead,
    ) -> io::Result<()> {
        if selection.keep.contains(&extension) {
            match read_member(entry, Vec::new())? {
                None => self.too_large = Some(extension),
                Some(bytes) if !self.kept.iter().any(|kept| kept.extension == extension) => {
                    self.kept.push(Kept { extension, bytes });
                }
                Some(_) => {}
            }
            return Ok(());
        }
        let mut start = Vec::new();
        let rank = if selection.image_keys.is_empty() {
            if !has_image_extension(&path) {
                entry.by_ref().take(64).read_to_end(&mut start)?;
                if !looks_like_image(&start) {
                    not_read.note(&path, &start);
                    return Ok(());
                }
            }
            0
        } else {
            match selection.image_keys.iter().position(|key| *key == extension) {
                Some(rank) => rank,
                None => return Ok(()),
            }
        };
        let again = self.images.contains(&extension);
        if self.images.len() == MOST_IMAGES {
            return Ok(()); // a sample of so many is refused, or has the image to take already
        }
        self.images.push(extension);
        // One that would not be taken need not be read.
        if again || self.image.as_ref().is_none_or(|best| rank < best.rank) {
            let bytes = match read_member(entry, start)? {
                None => Err(format!("is {LARGER}, which no supported image is")),
                Some(bytes) if bytes.is_empty() => Err("is empty".into()),
                Some(bytes) => Ok(bytes),
            };
            self.image = Some(Image { rank, member: path, offset: entry.raw_header_position(), bytes });
        }
        Ok(())
    }

    /// Hands over the sample, if it has an image.
    pub(super) fn give(
        self,
        shard: &Path,
        selection: &Selection,
        on: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(Image { member, offset, bytes: image, .. }) = self.image else {
            return ControlFlow::Continue(());
        };
        let images = self.images.join(", ");
        let twice = (1..self.images.len()).any(|index| self.images[..index].contains(&self.images[index]));
        let image = if twice {
            Err(Unusable::Damaged(format!("its sample has two members of one name: {images}")))
        } else if self.images.len() > 1 && selection.image_keys.is_empty() {
            Err(Unusable::SeveralImages(format!(
                "its sample has several images, {images}: image-key {} takes the first",
                self.images[0]
            )))
        } else if let Some(extension) = self.too_large {
            Err(Unusable::Damaged(format!("its sample's {extension} is to be kept, and is {LARGER}")))
        } else {
            image.map_err(Unusable::Damaged)
        };
        let sample = Sample { shard: shard.to_owned(), key: self.key, kept: self.kept };
        on(Found { member, offset, image, sample })
    }
}

/// All of a member, after what was read of it; none if that is more than is taken. The error is the shard's.
fn read_member(entry: &mut Entry<'_, impl Read>, start: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let size = entry.size();
    if size > LARGEST_MEMBER {
        return Ok(None);
    }
    let mut bytes = start;
    entry.read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        length if length < size => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Some(bytes)),
    }
}
