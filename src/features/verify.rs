//! All that was written, read again and compared with the manifest's checksums.

use std::{fs::File, io, ops::ControlFlow, path::PathBuf, sync::Arc};

use super::{Features, FeaturesError, files::Open, followed::Manifest};
use crate::{
    output::{Entry, Heading, Place},
    read_at::read_exact_at,
};

/// Something that is not as it was written.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// use std::ops::ControlFlow;
///
/// use clip_features::features::{self, Verified};
///
/// let mut bytes = std::fs::read(&path)?;
/// *bytes.last_mut().ok_or("empty")? ^= 1; // a bit of the last image
/// std::fs::write(&path, bytes)?;
/// let mut found = Vec::new();
/// features::open(&path)?.verify(|looked_at| {
///     if let Verified::Image(Some(difference)) = looked_at {
///         found.push(difference.clone());
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!((found[0].key.as_deref(), &found[0].path), (Some("dog.ppm"), &path));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The image; none where it is what a file says of itself.
    pub key: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, in words.
    pub reason: String,
}

/// What was looked at.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// use std::ops::ControlFlow;
///
/// use clip_features::features::{self, Verified};
///
/// let mut whole = 0;
/// let differences = features::open(path)?.verify(|looked_at| {
///     whole += usize::from(matches!(looked_at, Verified::Image(None)));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!((whole, differences), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Verified<'a> {
    /// The next image.
    Image(Option<&'a Difference>),
    /// What a file says of itself, which is not as it was written.
    File(&'a Difference),
}

impl Features {
    /// Reads everything and compares it with the manifest's checksums. `on` is told of each image, and of each file whose head is another;
    /// it can break off. Gives the number of differences.
    ///
    /// # Errors
    /// A manifest has changed or cannot be read.
    pub fn verify(
        &self,
        mut on: impl FnMut(Verified<'_>) -> ControlFlow<()>,
    ) -> Result<usize, FeaturesError> {
        let mut differences = 0;
        for home in 0..self.homes.len() as u32 {
            let found = self.verify_head(home)?;
            differences += usize::from(found.is_some());
            if found.is_some_and(|found| on(Verified::File(&found)).is_break()) {
                return Ok(differences);
            }
        }
        let mut buffer = vec![0; 1 << 20];
        for place in 0..self.len() {
            let (home, entry) = self.entry(place)?;
            let found = self.verify_entry(home, &entry, &mut buffer);
            differences += usize::from(found.is_some());
            if on(Verified::Image(found.as_ref())).is_break() {
                break;
            }
        }
        Ok(differences)
    }

    fn verify_entry(&self, home: u32, entry: &Entry, buffer: &mut [u8]) -> Option<Difference> {
        let differs =
            |path: PathBuf, reason: String| Difference { key: Some(entry.key.clone()), path, reason };
        for place in &entry.at {
            let found = self.open_place(home, place).and_then(|(path, opened, offset)| {
                let sum =
                    sum(&opened.file, offset, place.length, buffer).map_err(FeaturesError::io(&path))?;
                Ok((path, sum))
            });
            match found {
                Ok((_, sum)) if sum == place.crc32 => {}
                Ok((path, _)) => {
                    return Some(differs(path, "its bytes are not those that were written".into()));
                }
                Err(error) => return Some(of_error(&entry.key, error)),
            }
        }
        None
    }

    /// The file of some bytes, and where they begin in it.
    fn open_place(&self, home: u32, place: &Place) -> Result<(PathBuf, Arc<Open>, u64), FeaturesError> {
        if let Some(shared) = self.home(home) {
            return Ok((
                shared.path.clone(),
                self.shared(home, shared)?,
                shared.start.saturating_add(place.offset),
            ));
        }
        let path = self.manifest_of(home).file(&place.file)?;
        let opened = Open::at(&path)?;
        if opened.length != place.length {
            return Err(FeaturesError::damaged(
                &path,
                format!("it has {} bytes, not {}", opened.length, place.length),
            ));
        }
        Ok((path, opened.into(), 0))
    }

    /// What a whole file says of itself before its entries, and what follows them.
    fn verify_head(&self, home: u32) -> Result<Option<Difference>, FeaturesError> {
        let Some(on_disk) = self.home(home).filter(|on_disk| on_disk.is_whole) else { return Ok(None) };
        let Manifest { collection, dtype, head, .. } = self.manifest_of(home);
        let Some(mut heading) = Heading::new(collection.format, *dtype, head) else { return Ok(None) };
        if heading.names_entries() {
            for line in self.index.held(home) {
                let entry = self.line(home, line)?;
                heading.add(&entry.key, entry.shapes.iter().map(Vec::as_slice));
            }
        }
        // What can be no head is not as it was written either.
        let frame = heading.frame(on_disk.start);
        let (start, end) = frame.unwrap_or_else(|error| (error.to_string().into_bytes(), Vec::new()));
        let opened = match self.shared(home, on_disk) {
            Ok(opened) => opened,
            Err(error) => return Ok(Some(Difference { key: None, ..of_error("", error) })),
        };
        let last = opened.length.saturating_sub(end.len() as u64);
        let same = is_there(&opened.file, &start, 0)
            .and_then(|is_same| Ok(is_same && is_there(&opened.file, &end, last)?));
        let path = on_disk.path.clone();
        Ok(match same {
            Ok(true) => None,
            Ok(false) => {
                Some(Difference { key: None, path, reason: "its head is not as it was written".into() })
            }
            Err(error) => Some(Difference { key: None, path, reason: format!("cannot be read: {error}") }),
        })
    }
}

fn of_error(key: &str, error: FeaturesError) -> Difference {
    let key = Some(key.to_owned());
    match error {
        FeaturesError::Damaged { path, reason } => Difference { key, path, reason },
        FeaturesError::Io { path, source } => {
            Difference { key, path, reason: format!("cannot be read: {source}") }
        }
        FeaturesError::Changed { path } => Difference { key, path, reason: "has changed meanwhile".into() },
        other => Difference { key, path: PathBuf::new(), reason: other.to_string() },
    }
}

fn sum(file: &File, mut offset: u64, mut length: u64, buffer: &mut [u8]) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    while length > 0 {
        let step = length.min(buffer.len() as u64) as usize;
        read_exact_at(file, &mut buffer[..step], offset)?;
        hasher.update(&buffer[..step]);
        offset += step as u64;
        length -= step as u64;
    }
    Ok(hasher.finalize())
}

/// Whether a file has these bytes there.
fn is_there(file: &File, bytes: &[u8], offset: u64) -> io::Result<bool> {
    let mut found = vec![0; bytes.len()];
    match read_exact_at(file, &mut found, offset) {
        Ok(()) => Ok(found == bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
