//! How large an output will be.

use std::path::Path;

use super::{
    Contents, Format, Found, OutputError, Plan, Planned,
    collection::{Collection, Way},
    engine::{Room, lines_of},
    format::{npy::HEADER, safetensors},
    key,
    manifest::Line,
    planned::json_bytes,
};

/// What is said of a photograph takes about so many bytes, which is little beside its tensors: its line in the manifest, of each place and
/// shape in that, what a tar says of it, and what a file of its own does. Names come to that.
const LINE: u64 = 350;
const PLACE: u64 = 56;
const SHAPE: u64 = 12;
const REPORT: u64 = 650;
const METADATA: u64 = 150;

/// An image that is to be written, as far as its names take room.
#[derive(Clone, Debug)]
pub struct Upcoming<'a> {
    /// Its key.
    pub key: String,
    /// The path that files of its own are named for.
    pub name: &'a Path,
    /// Its path as it was given.
    pub input: String,
}

impl Plan {
    /// Refuses what no file can hold: an image and a head that are larger than the limit, or more images than the head of a single file
    /// can name. `planned` are the images that are to be written, as far as they are known.
    ///
    /// # Errors
    /// As said.
    pub fn check_room(
        &self,
        contents: &Contents,
        found: Option<&Found>,
        planned: &Planned,
    ) -> Result<(), OutputError> {
        let Some(collection) = self.many() else { return Ok(()) };
        let Some(mut room) = Room::of(collection, contents) else { return Ok(()) };
        let (path, layout) = (collection.path.clone(), room.layout);
        // What a tar says of an image, of each of its tensors.
        let report = 1000 * contents.tensors.len() as u64;
        let bytes = |sample| layout.planned_bytes(contents, sample, report).unwrap_or(0);
        if let Way::Together(Some(limit)) = collection.way {
            // Where no name is known, none is shorter than this.
            let mut images = planned.from(0).chain(planned.is_empty().then_some((2, 0)));
            let Some((key, sample)) =
                images.find(|&(key, sample)| room.fit([(key, bytes(sample))]).count == 0)
            else {
                return Ok(());
            };
            room.limit = u64::MAX;
            let image = bytes(sample);
            let least = room.fit([(key, image)]);
            let least = room.end(least.start, least.data);
            return Err(OutputError::ShardSize { path, limit, image, least });
        }
        if collection.way == Way::Repeated || planned.is_empty() {
            return Ok(());
        }
        let held = found.map_or(0, |found| found.fill(&mut room));
        let fit = room.fit(planned.from(0).map(|(key, sample)| (key, bytes(sample))));
        match fit.count < planned.len() {
            true => {
                Err(OutputError::TooMany { path, images: held + planned.len(), entries: held + fit.count })
            }
            false => Ok(()),
        }
    }

    /// The bytes that a run writes for these images, given `contents` whose shapes are known, with manifest and heads, and the copy in
    /// which what is finished takes more; none where no file is written.
    pub fn bytes<'a>(
        &self,
        contents: &Contents,
        found: Option<&Found>,
        images: impl Iterator<Item = Upcoming<'a>>,
    ) -> Option<u64> {
        self.path()?;
        let own = own_bytes(self.format()?, contents);
        let Some(collection) = self.many() else { return Some(images.count() as u64 * own) };
        let (mut planned, mut bytes) = (Planned::default(), 0);
        for image in images {
            let files = match collection.way {
                Way::Each => collection.own_files(contents, image.name),
                _ => vec![collection.file_name(Some(0)).into()],
            };
            let sample = collection.sample_name(image.name, None).unwrap_or_default();
            planned.add(&image.key, &sample);
            let names = files.iter().map(|file| json_bytes(&key(file))).sum::<u64>();
            let names = names + json_bytes(&image.key) + json_bytes(&image.input) + json_bytes(&sample);
            bytes += LINE + PLACE * files.len() as u64 + SHAPE * contents.tensors.len() as u64 + names;
            bytes += if collection.way == Way::Each { own } else { 0 };
        }
        if planned.is_empty() {
            return Some(0);
        }
        // The lines of the run itself, and the first of all where there is none.
        bytes += 300;
        if found.is_none_or(|found| found.seen.is_none()) {
            bytes += Line::Manifest(collection.head(contents)).encode().len() as u64;
        }
        Some(bytes + together_bytes(collection, contents, found, &planned).unwrap_or(0))
    }
}

/// Bytes of an image's own files.
fn own_bytes(format: Format, contents: &Contents) -> u64 {
    let data = contents.image_bytes().unwrap_or(0);
    match format {
        Format::Npy => data + (HEADER * contents.tensors.len()) as u64,
        Format::Safetensors => {
            let mut header = safetensors::Header::new(&contents.settings, contents.dtype);
            for tensor in &contents.tensors {
                header.add(&tensor.name, tensor.shape.as_deref().unwrap_or_default());
            }
            data + safetensors::start_after(header.len() + METADATA)
        }
        Format::Tar | Format::Png => data,
    }
}

/// Bytes of the files that images share; none where they share none.
fn together_bytes(
    collection: &Collection,
    contents: &Contents,
    found: Option<&Found>,
    planned: &Planned,
) -> Option<u64> {
    let mut room = Room::of(collection, contents)?;
    let mut before = 0;
    if room.limit == u64::MAX
        && let Some(found) = found
    {
        found.fill(&mut room);
        // What grows already is there.
        before = if found.grows() { room.data } else { 0 };
    }
    let (mut place, mut bytes) = (0, 0);
    while place < planned.len() {
        let image = |sample| room.layout.planned_bytes(contents, sample, REPORT).unwrap_or(0);
        let fit = room.fit(planned.from(place).map(|(key, sample)| (key, image(sample))));
        bytes += room.end(fit.start, fit.data);
        place += fit.count.max(1);
        (room.lines, room.data) = (0, 0);
    }
    Some(bytes - before)
}

impl Found {
    /// Puts what a single file holds into its room; gives how many entries that are.
    fn fill(&self, room: &mut Room<'_>) -> usize {
        let state = self.read();
        let Some(file) = state.files.last() else { return 0 };
        (room.lines, room.data) = (lines_of(room.layout, room.contents, file), file.data());
        file.held.len()
    }

    /// Whether a file has been begun and not finished.
    fn grows(&self) -> bool {
        self.read().files.last().is_some_and(|file| file.grows_from.is_some())
    }
}
