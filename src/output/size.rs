//! How large an output will be.

use std::path::Path;

use serde_json::value::RawValue;

use super::{
    Contents, Format, Found, InputFacts, OutputError, Plan, Planned, Sha256Bytes,
    collection::{Collection, Way},
    engine::Room,
    format::{npy::HEADER, safetensors},
    key,
    layout::Layout,
    manifest::{Entry, Line, Place},
    planned::json_bytes,
};

/// What is said of a photograph takes about so many bytes: the facts in the manifest, what a tar says of it, and what a file of its own
/// does. Beside tensors it is little.
const FACTS: usize = 150;
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
        let Some((collection, layout)) = self.many().and_then(|many| Some((many, many.layout()?))) else {
            return Ok(());
        };
        let Some(shapes) = shapes(layout, contents) else { return Ok(()) };
        let head = layout.head_bytes(contents);
        // What a tar says of an image, of each of its tensors.
        let report = 1000 * contents.tensors.len() as u64;
        let bytes = |sample| layout.planned_bytes(contents, sample, report).unwrap_or(0);
        if let Way::Together(Some(limit)) = collection.way {
            let room =
                |limit| Room { layout, contents, head, limit, lines: 0, data: 0, shapes: shapes.clone() };
            let empty = [(2, 0)];
            let mut images = planned.from(0).chain(planned.is_empty().then_some(empty[0]));
            if let Some((key, sample)) =
                images.find(|&(key, sample)| room(limit).fit([(key, bytes(sample))].into_iter()).count == 0)
            {
                let image = bytes(sample);
                let least = room(u64::MAX).fit([(key, image)].into_iter());
                let least = least.start + least.data + layout.end_bytes();
                return Err(OutputError::ShardSize { path: collection.path.clone(), limit, image, least });
            }
            return Ok(());
        }
        if collection.way == Way::Repeated || planned.is_empty() {
            return Ok(());
        }
        let (lines, data, held) = found.map_or((0, 0, 0), |found| found.held(layout, contents));
        let room = Room { layout, contents, head, limit: u64::MAX, lines, data, shapes };
        let fit = room.fit(planned.from(0).map(|(key, sample)| (key, bytes(sample))));
        match fit.count < planned.len() {
            true => Err(OutputError::TooMany {
                path: collection.path.clone(),
                images: held + planned.len(),
                entries: held + fit.count,
            }),
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
        let line = line_bytes(collection, contents);
        let (mut planned, mut bytes) = (Planned::default(), 0);
        for (place, image) in images.enumerate() {
            let names = collection.own_files(contents, image.name);
            let sample = collection.sample_name(image.name, None).unwrap_or_default();
            planned.add(&image.key, &sample);
            let escaped = |text: &str| json_bytes(text) - 2;
            let files: u64 = match collection.way {
                Way::Each => names.iter().map(|name| escaped(&key(name))).sum(),
                _ => {
                    escaped(
                        &collection.file_name(matches!(collection.way, Way::Together(Some(_))).then_some(0)),
                    ) + digits(place as u64 * own)
                        - 1
                }
            };
            bytes += line + escaped(&image.key) + escaped(&image.input) + files + sample.len() as u64;
            bytes += if collection.way == Way::Each { own } else { 0 };
        }
        if planned.is_empty() {
            return Some(0);
        }
        bytes += Line::Manifest(collection.head(contents)).encode().len() as u64 + 300;
        if let Some(layout) = collection.layout() {
            bytes += together_bytes(collection, layout, contents, found, &planned);
        }
        Some(bytes)
    }
}

/// The shapes of an image's tensors as they lie in a file, if they are known.
fn shapes(layout: &dyn Layout, contents: &Contents) -> Option<Vec<Vec<usize>>> {
    contents
        .tensors
        .iter()
        .map(|tensor| tensor.shape.as_ref().map(|shape| layout.shape(shape).to_vec()))
        .collect()
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

/// Bytes of an image's line, without its names.
fn line_bytes(collection: &Collection, contents: &Contents) -> u64 {
    let files = collection.own_files(contents, Path::new("x")).len();
    let count = if collection.way == Way::Each { files } else { 1 };
    let length = contents.image_bytes().unwrap_or(0) / count as u64;
    let place = Place { file: String::new(), offset: 0, length, crc32: 0 };
    let input = InputFacts {
        path: String::new(),
        bytes: Some(200_000),
        modified_ns: Some(1_700_000_000_000_000_000),
        sha256: Some(Sha256Bytes([0; 32])),
    };
    let shape = |shape: &Vec<usize>| {
        collection.layout().map_or(shape.as_slice(), |layout| layout.shape(shape)).to_vec()
    };
    let facts = format!("\"{}\"", "x".repeat(FACTS));
    let entry = Entry {
        key: String::new(),
        input,
        sample: (collection.format == Format::Tar).then(String::new),
        at: vec![place; count],
        shapes: contents.tensors.iter().filter_map(|tensor| tensor.shape.as_ref().map(shape)).collect(),
        facts: RawValue::from_string(facts).ok(),
    };
    Line::Entry(entry).encode().len() as u64
}

/// Bytes of the files that images share.
fn together_bytes(
    collection: &Collection,
    layout: &'static dyn Layout,
    contents: &Contents,
    found: Option<&Found>,
    planned: &Planned,
) -> u64 {
    let Some(shapes) = shapes(layout, contents) else { return 0 };
    let head = layout.head_bytes(contents);
    let limit = if let Way::Together(Some(limit)) = collection.way { limit } else { u64::MAX };
    let (mut lines, mut data, mut before) = (0, 0, 0);
    if limit == u64::MAX
        && let Some(found) = found
    {
        (lines, data, _) = found.held(layout, contents);
        // What grows already is there.
        before = if found.grows() { data } else { 0 };
    }
    let (mut place, mut bytes) = (0, 0);
    while place < planned.len() {
        let room = Room { layout, contents, head, limit, lines, data, shapes: shapes.clone() };
        let images = planned
            .from(place)
            .map(|(key, sample)| (key, layout.planned_bytes(contents, sample, REPORT).unwrap_or(0)));
        let fit = room.fit(images);
        bytes += fit.start + fit.data + layout.end_bytes();
        place += fit.count.max(1);
        (lines, data) = (0, 0);
    }
    bytes - before
}

fn digits(number: u64) -> u64 {
    u64::from(number.max(1).ilog10()) + 1
}

impl Found {
    /// Of a single file, the bytes of its entries' lines and of its entries, and how many it holds.
    fn held(&self, layout: &'static dyn Layout, contents: &Contents) -> (u64, u64, usize) {
        let state = self.read();
        match state.files.last() {
            Some(file) => (super::engine::lines_of(layout, contents, file), file.data(), file.held.len()),
            None => (0, 0, 0),
        }
    }

    /// Whether a file has been begun and not finished.
    fn grows(&self) -> bool {
        self.read().files.last().is_some_and(|file| file.grows_from.is_some())
    }
}
