//! The features of many images, which are read one by one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    FeaturesError, Record, Tensor,
    files::{Files, Open},
    followed::Manifest,
    locate::{Spot, in_tar, spot},
    settle::DataFile,
};
use crate::output::{Dtype, Entry, EntryLine, Format, Index, Metadata, key, place_of};

/// The features of many images, in the order in which they were written.
///
/// Nothing of them is read before it is asked for. All calls may come from several threads at once, and from a process that was forked.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// let features = clip_features::features::open(path)?;
/// assert_eq!(features.missing(["dog.ppm", "bird.ppm"]), ["bird.ppm"]);
/// let place = features.place("dog.ppm").ok_or("no dog")?;
/// let tokens = features.read(place, 0)?; // the first of its tensors
/// assert_eq!((features.tensors(), tokens.shape()), (&["last_hidden_state".into()][..], &[5, 48][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Features {
    pub(super) index: Index,
    manifests: Vec<Manifest>,
    pub(super) homes: Vec<DataFile>,
    files: Files,
}

/// Where a tensor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The file.
    pub path: PathBuf,
    /// Where its elements begin in it.
    pub offset: u64,
    /// Its shape, without the dimension of the batch.
    pub shape: Vec<usize>,
}

impl Features {
    pub(super) fn new(index: Index, manifests: Vec<Manifest>, homes: Vec<DataFile>) -> Self {
        Self { index, manifests, homes, files: Files::default() }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of the images, in the order in which they were written.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|place| self.index.key(place).unwrap_or_default())
    }

    /// The key of an image by its place; none where there is no such place.
    pub fn key(&self, place: usize) -> Option<&str> {
        self.index.key(place)
    }

    /// The place of an image by its key; none where there is no such key.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.index.place(key)
    }

    /// Those of some keys that have no features, in order.
    pub fn missing<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Vec<K> {
        keys.into_iter().filter(|key| self.place(key.as_ref()).is_none()).collect()
    }

    /// The names of an image's tensors, in order.
    pub fn tensors(&self) -> &[String] {
        &self.first().head.tensors
    }

    /// What was asked for when it was written: model, weights, tensor, layer, preprocessing, types.
    pub fn metadata(&self) -> &Metadata {
        &self.first().head.settings
    }

    /// The type of all elements.
    pub fn dtype(&self) -> Dtype {
        self.first().dtype
    }

    /// The paths of what is open, as they were asked for when it was written.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let mut last = None;
        self.manifests
            .iter()
            .map(|manifest| manifest.collection.path.as_path())
            .filter(move |&path| last.replace(path) != Some(path))
    }

    /// The only tensor of an image, without the dimension of the batch.
    ///
    /// # Errors
    /// There is no such image, an image has several tensors, or a file was cut, has changed or cannot be read.
    pub fn get(&self, key: &str) -> Result<Tensor, FeaturesError> {
        match self.tensors() {
            [_] => self.read(self.known(key)?, 0),
            has => Err(FeaturesError::Several { has: has.to_vec() }),
        }
    }

    /// A tensor of an image, by its name.
    ///
    /// ```
    /// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
    /// # let (directory, mut job, model) = given::job()?;
    /// # let path = directory.path().join("features.safetensors");
    /// # job.output.path = Some(path.clone());
    /// use clip_features::{TensorKind, features};
    ///
    /// job.options.request.tensors = vec![TensorKind::LastHiddenState, TensorKind::PoolerOutput];
    /// # given::records(job, &model)?;
    /// let features = features::open(path)?; // once the job is run
    /// assert_eq!(features.get_tensor("cat.ppm", "pooler_output")?.shape(), [48]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is no such image or tensor, or a file was cut, has changed or cannot be read.
    pub fn get_tensor(&self, key: &str, name: &str) -> Result<Tensor, FeaturesError> {
        let tensor = self.tensors().iter().position(|tensor| tensor == name);
        let tensor = tensor
            .ok_or_else(|| FeaturesError::NoTensor { name: name.to_owned(), has: self.tensors().to_vec() })?;
        self.read(self.known(key)?, tensor)
    }

    /// A tensor of an image, by the places of both.
    ///
    /// # Errors
    /// There is no such place, or a file was cut, has changed or cannot be read.
    pub fn read(&self, place: usize, tensor: usize) -> Result<Tensor, FeaturesError> {
        let (home, entry) = self.entry(place)?;
        let (opened, At { path, offset, shape }) = self.find(home, &entry, tensor)?;
        Tensor::of(&opened.file, offset, shape, self.dtype()).map_err(FeaturesError::io(&path))
    }

    /// Where a tensor of an image is, by the places of both.
    ///
    /// # Errors
    /// As [`Features::read`].
    #[doc(hidden)]
    pub fn at(&self, place: usize, tensor: usize) -> Result<At, FeaturesError> {
        let (home, entry) = self.entry(place)?;
        self.find(home, &entry, tensor).map(|(_, at)| at)
    }

    /// What is known of an image beside its tensors, by its place.
    ///
    /// # Errors
    /// There is no such place, or the manifest has changed or cannot be read.
    pub fn record(&self, place: usize) -> Result<Record, FeaturesError> {
        let (home, entry) = self.entry(place)?;
        let outputs = match self.home(home) {
            Some(on_disk) => vec![on_disk.path.clone()],
            None => {
                let manifest = self.manifest_of(home);
                entry.at.iter().map(|place| manifest.file(&place.file)).collect::<Result<_, _>>()?
            }
        };
        let shapes = entry.shapes.iter().map(|shape| self.row(home, shape).to_vec()).collect();
        let Entry { key, input, facts, .. } = entry;
        Ok(Record { key, input, outputs, shapes, facts })
    }

    fn first(&self) -> &Manifest {
        &self.manifests[0]
    }

    fn known(&self, key: &str) -> Result<usize, FeaturesError> {
        self.place(key).ok_or_else(|| FeaturesError::NoKey {
            key: key.to_owned(),
            path: self.first().collection.path.clone(),
        })
    }

    pub(super) fn manifest_of(&self, home: u32) -> &Manifest {
        &self.manifests[self.index.homes[home as usize].manifest]
    }

    /// The file of many entries, if it is one.
    pub(super) fn home(&self, home: u32) -> Option<&DataFile> {
        self.index.homes[home as usize].file.as_ref().map(|_| &self.homes[home as usize])
    }

    /// What the manifest says of an entry.
    pub(super) fn entry(&self, place: usize) -> Result<(u32, Entry), FeaturesError> {
        let (home, line) = self.index.entry(place).ok_or_else(|| FeaturesError::NoKey {
            key: place.to_string(),
            path: self.first().collection.path.clone(),
        })?;
        Ok((home, self.line(home, line)?))
    }

    pub(super) fn line(&self, home: u32, line: EntryLine) -> Result<Entry, FeaturesError> {
        let number = self.index.homes[home as usize].manifest;
        let path = &self.manifests[number].path;
        let opened = self.files.get(number as u32, || Open::at(path))?;
        line.read(&opened.file).map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                FeaturesError::Changed { path: path.clone() }
            }
            _ => FeaturesError::Io { path: path.clone(), source },
        })
    }

    /// A tensor's file, and where in it the elements are.
    fn find(&self, home: u32, entry: &Entry, tensor: usize) -> Result<(Arc<Open>, At), FeaturesError> {
        let manifest = self.manifest_of(home);
        let (format, dtype) = (manifest.collection.format, manifest.dtype);
        let shared = self.home(home);
        let wrong = || {
            let reason = format!("what it says of {:?} cannot be", entry.key);
            FeaturesError::damaged(&manifest.path, reason)
        };
        let shape = entry.shapes.get(tensor).ok_or_else(wrong)?;
        let Spot { file, offset } =
            spot(entry, tensor, format, dtype, shared.map(|shared| shared.start)).ok_or_else(wrong)?;
        let place = entry.at.get(file).ok_or_else(wrong)?;
        let (opened, path) = match shared {
            Some(shared) => (self.shared(home, shared)?, shared.path.clone()),
            None => {
                let path = manifest.file(&place.file)?;
                let opened = Open::at(&path)?;
                if opened.length != place.length {
                    let reason = format!(
                        "it has {} bytes, and {} says {}",
                        opened.length,
                        manifest.path.display(),
                        place.length
                    );
                    return Err(FeaturesError::damaged(&path, reason));
                }
                (Arc::new(opened), path)
            }
        };
        let bytes = dtype.bytes(shape);
        let offset = match format {
            Format::Tar => in_tar(&opened.file, offset, tensor, bytes)
                .map_err(FeaturesError::io(&path))?
                .ok_or_else(|| {
                    FeaturesError::damaged(
                        &path,
                        format!("the sample of {:?} is not as it was written", entry.key),
                    )
                })?,
            _ => offset,
        };
        if !offset.is_multiple_of(dtype.size() as u64) {
            return Err(wrong());
        }
        if offset.checked_add(bytes).is_none_or(|end| end > opened.length) {
            return Err(FeaturesError::damaged(&path, format!("it ends before {:?} does", entry.key)));
        }
        let shape = self.row(home, shape).to_vec();
        Ok((opened, At { path, offset, shape }))
    }

    /// A file of many entries, which must be the one that was there when it was opened.
    pub(super) fn shared(&self, home: u32, file: &DataFile) -> Result<Arc<Open>, FeaturesError> {
        self.files.get(self.manifests.len() as u32 + home, || {
            let changed = || FeaturesError::Changed { path: file.path.clone() };
            let opened = Open::at(&file.path).map_err(|error| match error {
                FeaturesError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    changed()
                }
                other => other,
            })?;
            let modified = opened.file.metadata().ok().and_then(|found| found.modified().ok());
            let is_same = match file.is_whole {
                true => (opened.length, modified) == (file.length, file.modified),
                false => opened.length >= file.length,
            };
            if is_same { Ok(opened) } else { Err(changed()) }
        })
    }

    /// A shape without the dimension of the batch. A stack's rows have none; of tiles the first dimension is theirs.
    fn row<'a>(&self, home: u32, shape: &'a [usize]) -> &'a [usize] {
        let manifest = self.manifest_of(home);
        let is_stack = manifest.collection.format == Format::Npy && self.home(home).is_some();
        let is_bare = is_stack || self.metadata().get("tiles").is_some();
        if is_bare { shape } else { shape.strip_prefix(&[1]).unwrap_or(shape) }
    }

    /// Whether a file is one of those that the manifests list.
    ///
    /// # Errors
    /// A manifest has changed or cannot be read.
    pub(super) fn lists(&self, file: &Path) -> Result<bool, FeaturesError> {
        let file = place_of(file);
        // While one grows it is read beside its name, which it has had before.
        let named = self.index.homes.iter().filter_map(|home| {
            let shared = home.file.as_ref().filter(|shared| shared.sealed.is_some())?;
            self.manifests[home.manifest].file(&shared.name).ok()
        });
        let read = self.homes.iter().map(|home| home.path.clone()).filter(|path| path != Path::new(""));
        if named.chain(read).any(|path| place_of(&path) == file) {
            return Ok(true);
        }
        let name = |manifest: &Manifest| file.strip_prefix(place_of(&manifest.collection.path)).ok().map(key);
        let names: Vec<Option<String>> = self.manifests.iter().map(name).collect();
        for place in 0..self.len() {
            let (home, entry) = self.entry(place)?;
            let name = names[self.index.homes[home as usize].manifest].as_ref();
            if name.is_some_and(|name| entry.at.iter().any(|at| at.file == *name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
