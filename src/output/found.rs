//! What is there of an output already: looked at once, and shared by all who ask.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    Contents, OutputError,
    collection::{Collection, Way},
    disk::{PROBE, hidden_sibling, is_there, place_of},
    key,
    manifest::{Head, In, InputFacts, Sha256Bytes, State, Stored, head_at, is_manifest},
    manifests::{beside, inside, stem_of},
    settle::{length, length_of_file, settle},
};

/// What is said of a directory that has the name of a file to be written.
pub(super) const IN_THE_WAY: &str =
    "is a directory, and a file of that name is to be written\nhint: give it another name";

/// A place of many images, as it was found and as this run changes it.
#[derive(Debug)]
pub struct Found {
    pub(super) collection: Collection,
    state: RwLock<State>,
    /// What other parts of the job have written, where images have files of their own.
    others: Vec<Arc<State>>,
    /// Bytes of the manifest when it was looked at; none where there is none that counts.
    pub(super) seen: Option<u64>,
    /// Files that are whole and lack their names: where they are, and the names that they are to get.
    pub(super) unnamed: Vec<(PathBuf, PathBuf)>,
    /// What a killed run left that is of no use.
    pub(super) leftovers: Vec<PathBuf>,
}

/// How far an image's output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is to be made.
    New,
    /// It is there, and its input is as it was.
    Complete,
    /// It is there, and what its input says of size or time is another: its bytes tell.
    Unsure,
    /// A file of unknown origin is in its place.
    Foreign(PathBuf),
    /// It failed by its own bytes, which are as they were, and that is accepted.
    Accepted,
}

impl Found {
    /// Looks at a place; nothing is touched.
    ///
    /// # Errors
    /// Outputs of other settings, or of unknown origin, are there, or something that is damaged, or the disk fails.
    pub(super) fn at(collection: &Collection, contents: &Contents) -> Result<Self, OutputError> {
        let manifest = collection.manifest();
        Self::among(collection, contents, &collection.states(contents, |path| path != manifest)?)
    }

    /// The same beside what others have written there, which was read before; a manifest of its own does not count.
    ///
    /// # Errors
    /// As [`Found::at`].
    pub(super) fn among(
        collection: &Collection,
        contents: &Contents,
        others: &[(PathBuf, Arc<State>)],
    ) -> Result<Self, OutputError> {
        let (head, manifest) = (collection.head(contents), collection.manifest());
        let others = others.iter().filter(|(path, _)| *path != manifest);
        let mut found = Self {
            collection: collection.clone(),
            state: RwLock::new(State::new(head.clone())),
            others: others.map(|(_, state)| state.clone()).collect(),
            seen: None,
            unnamed: Vec::new(),
            leftovers: Vec::new(),
        };
        if contents.overwrite {
            return collection.check_replaced(&head).map(|()| found);
        }
        // Before it is read: what another process adds meanwhile is noticed when it is opened.
        let bytes = length(&manifest);
        if let Some(mut state) = State::read(&manifest)? {
            collection.check(&state.head, &head)?;
            found.seen = bytes;
            found.unnamed = settle(collection, &mut state)?;
            *found.write() = state;
        }
        found.leftovers = found.useless();
        Ok(found)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last run has come to its end, and left nothing to be put in order.
    pub fn is_settled(&self) -> bool {
        self.read().has_ended && self.unnamed.is_empty() && self.leftovers.is_empty()
    }

    /// Refuses what is in the place of a file of many images that is to be made, and was never made here.
    ///
    /// # Errors
    /// As said.
    pub fn refuse_strangers(&self, overwrite: bool) -> Result<(), OutputError> {
        let Way::Together(_) = self.collection.way else { return Ok(()) };
        let state = self.read();
        let next = self.collection.next_name(&state);
        let made = state.files.iter().map(|file| &file.name).chain([&next]);
        let made = made.filter(|name| !state.is_ours(name)).map(|name| self.collection.file(name));
        // Which numbers come after that is not known.
        let made: Vec<PathBuf> = made.collect();
        if let Some(path) = made.iter().find(|path| is_no_name(path)) {
            let source = io::ErrorKind::InvalidFilename.into();
            return Err(OutputError::Io { path: path.clone(), source });
        }
        for path in
            made.into_iter().chain(self.collection.numbered().into_iter().filter(|path| path.is_dir()))
        {
            if path.is_dir() {
                return Err(OutputError::Misplaced { path, reason: IN_THE_WAY.into() });
            }
            if !overwrite && is_there(&path) {
                let manifest = self.collection.manifest();
                if length(&manifest) != self.seen {
                    // Another process has just made it.
                    return Err(OutputError::Busy { path: self.collection.path.clone() });
                }
                let manifest = manifest.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let reason = match self.seen {
                    Some(_) => format!("exists, and {manifest} beside it does not list it"),
                    None => format!("exists, and there is no {manifest} beside it that lists it"),
                };
                return Err(OutputError::Taken { path, reason });
            }
        }
        Ok(())
    }

    /// What a killed run left beside the output, and nobody needs.
    fn useless(&self) -> Vec<PathBuf> {
        let (collection, state) = (&self.collection, self.read());
        let manifest = collection.manifest();
        let mut found = vec![
            collection.lock(),
            collection.staging(),
            hidden_sibling(&manifest, ".partial"),
            hidden_sibling(&manifest, ".own"),
        ];
        for file in &state.files {
            let partials = (1..=file.generation + 1)
                .filter(|&generation| !(file.grows_from.is_some() && generation == file.generation));
            found.extend(partials.map(|generation| collection.partial(&file.name, generation)));
        }
        let next = state.next.iter().filter(|name| state.file(name).is_none());
        found.extend(next.map(|name| collection.partial(name, 1)));
        found.extend(collection.probes());
        let needed: BTreeSet<&PathBuf> = self.unnamed.iter().map(|(from, _)| from).collect();
        found.retain(|path| !needed.contains(path) && is_there(path));
        found
    }

    /// What is known of an image that is written, by whomever.
    pub(super) fn stored<T>(&self, key: &str, of: impl FnOnce(&Stored) -> T) -> Option<T> {
        self.stored_in(&self.read(), key).map(of)
    }

    fn stored_in<'a>(&'a self, state: &'a State, key: &str) -> Option<&'a Stored> {
        std::iter::once(state)
            .chain(self.others.iter().map(|state| &**state))
            .find_map(|state| state.entries.get(key))
    }

    /// How far an image is. `input` gives the size and the time of what is read for it, as far as they are
    /// known; it is asked only of an image whose output is there.
    pub fn standing(
        &self,
        contents: &Contents,
        key: &str,
        name: &Path,
        input: impl Fn() -> (Option<u64>, Option<i64>),
    ) -> Standing {
        let state = self.read();
        let is_as_it_was =
            |then: &InputFacts| then.modified_ns.is_some() && (then.bytes, then.modified_ns) == input();
        let otherwise =
            |standing| match contents.accept_failures && self.has_defect(&state, key, is_as_it_was) {
                true => Standing::Accepted,
                false => standing,
            };
        let own = (self.collection.way == Way::Each).then(|| self.collection.own_files(contents, name));
        let Some(Stored { bytes, modified_ns, in_, .. }) = self.stored_in(&state, key) else {
            let mut files = own.into_iter().flatten().map(|file| self.collection.path.join(file));
            return match files.find(|file| is_there(file)) {
                Some(path) if !contents.overwrite => Standing::Foreign(path),
                _ => otherwise(Standing::New),
            };
        };
        if let (Some(own), In::Own(files)) = (own, in_) {
            let is_whole = |(file, (name, length)): (&PathBuf, &(Box<str>, u64))| {
                super::key(file) == **name
                    && length_of_file(&self.collection.path.join(file)) == Some(*length)
            };
            if own.len() != files.len() || !own.iter().zip(files).all(is_whole) {
                return otherwise(Standing::New);
            }
        }
        match input() {
            (Some(size), Some(time)) if (Some(size), Some(time)) == (*bytes, *modified_ns) => {
                Standing::Complete
            }
            _ if contents.update => otherwise(Standing::Unsure),
            _ => Standing::Unsure,
        }
    }

    /// Whether an image has failed by its own bytes, of which this is true.
    fn has_defect(&self, state: &State, key: &str, is_of: impl Fn(&InputFacts) -> bool) -> bool {
        let states = std::iter::once(state).chain(self.others.iter().map(|state| &**state));
        let mut failed = states.filter_map(|state| state.failed.get(key));
        failed.any(|failed| failed.defect.is_some() && is_of(&failed.input))
    }

    /// Whether an image has failed by its own bytes, and these had this digest.
    pub fn has_failed(&self, key: &str, sha256: Sha256Bytes) -> bool {
        self.has_defect(&self.read(), key, |input| input.sha256 == Some(sha256))
    }

    /// Whether an image was made of bytes of this digest.
    pub fn is_of(&self, key: &str, sha256: Sha256Bytes) -> bool {
        self.stored(key, |stored| stored.sha256.is_none_or(|found| found == sha256)).unwrap_or(false)
    }

    /// Whether nothing is left to be done of a tar that is repeated: all of its images were read, and none has failed, or none but by its
    /// own bytes where that is accepted.
    pub fn is_tar_done(
        &self,
        contents: &Contents,
        key: &str,
        name: &Path,
        input: (Option<u64>, Option<i64>),
    ) -> bool {
        let state = self.read();
        let Some(read) = state.tars.get(key) else { return false };
        let file = state.file(&Collection::tar_name(name)).map(|place| &state.files[place]);
        let is_accepted = contents.accept_failures && self.has_defect(&state, key, |_| true);
        let is_made = match (file, &read.damage) {
            (Some(file), damage) => {
                file.sealed.is_some() && file.grows_from.is_none() && (damage.is_none() || is_accepted)
            }
            // Nothing is made of one that is damaged from its beginning.
            (None, damage) => damage.is_some() && is_accepted,
        };
        is_made
            && input.1.is_some()
            && (read.input.bytes, read.input.modified_ns) == input
            && state.failed_in(key, !contents.accept_failures) == 0
    }

    /// The file of a tar that is repeated, where one of unknown origin is in its place.
    pub fn foreign_tar(&self, name: &Path) -> Option<PathBuf> {
        let name = Collection::tar_name(name);
        let path = self.collection.file(&name);
        (!self.read().is_ours(&name) && is_there(&path)).then_some(path)
    }
}

impl Collection {
    /// The first line of the manifest.
    pub(super) fn head(&self, contents: &Contents) -> Head {
        Head::new(
            self.describe(),
            contents.tensors.iter().map(|tensor| tensor.name.clone()).collect(),
            self.keep_extension,
            contents.settings.clone(),
        )
    }

    /// Refuses what is there of other settings, or lies otherwise.
    fn check(&self, found: &Head, head: &Head) -> Result<(), OutputError> {
        self.check_layout(found, head)?;
        if found.keep_extension != head.keep_extension {
            let how = if found.keep_extension { "with" } else { "without" };
            let reason = format!("made with outputs that are named {how} their images' extensions");
            return Err(OutputError::Taken { path: self.path.clone(), reason });
        }
        found.settings.check(&head.settings, &self.path)
    }

    /// Refuses what is there and lies otherwise.
    fn check_layout(&self, found: &Head, head: &Head) -> Result<(), OutputError> {
        if found.layout == head.layout {
            return Ok(());
        }
        let (path, manifest) = (self.path.clone(), self.manifest());
        let manifest = manifest.file_name().unwrap_or_default().to_string_lossy();
        Err(if self.is_directory() {
            let reason =
                format!("{manifest} there is of another layout: {}, not {}", found.layout, head.layout);
            OutputError::Taken { path, reason }
        } else {
            let reason = format!("{manifest} there is that of a .{}\nhint: give another name", found.layout);
            OutputError::Misplaced { path, reason }
        })
    }

    /// Refuses to start anew what is another output's: a file of another format beside this one may have its manifest.
    fn check_replaced(&self, head: &Head) -> Result<(), OutputError> {
        match head_at(&self.manifest()) {
            Ok(found) if !self.is_directory() => self.check_layout(&found, head),
            _ => Ok(()),
        }
    }

    /// What all parts of a job, or an undivided run, have written where images have files of their own: each manifest, and what it says.
    /// Nothing where all is started anew.
    pub(super) fn states(
        &self,
        contents: &Contents,
        wants: impl Fn(&Path) -> bool,
    ) -> Result<Vec<(PathBuf, Arc<State>)>, OutputError> {
        let counts = self.way == Way::Each && !contents.overwrite;
        let manifests = if counts { self.manifests()? } else { Vec::new() };
        let head = self.head(contents);
        let mut states = Vec::new();
        for path in manifests.into_iter().filter(|path| wants(path)) {
            match State::read(&path) {
                // Named like one, and none: it lists nothing.
                Err(OutputError::Taken { .. }) | Ok(None) => {}
                Err(error) => return Err(error),
                Ok(Some(state)) => {
                    self.check(&state.head, &head)?;
                    states.push((path, Arc::new(state)));
                }
            }
        }
        Ok(states)
    }

    /// The manifests in a directory, of whatever part; one beside a file.
    pub(super) fn manifests(&self) -> Result<Vec<PathBuf>, OutputError> {
        if !self.is_directory() {
            return Ok(vec![self.manifest()]);
        }
        inside(&self.path).map_err(|source| OutputError::Io { path: self.path.clone(), source })
    }

    /// The manifests of all who write there: of whatever part, beside a file too.
    pub(super) fn all_manifests(&self) -> Vec<PathBuf> {
        if self.is_directory() {
            return self.manifests().unwrap_or_default();
        }
        let whole = Self { part: None, ..self.clone() };
        let (stem, own) = (whole.named("".as_ref()), whole.manifest());
        // A name that was asked for may look like a part's.
        let is_ours = |manifest: &PathBuf| {
            manifest.file_name() == own.file_name()
                || stem_of(manifest).is_some_and(|(found, _)| found.as_os_str() == stem)
        };
        beside(self.base()).unwrap_or_default().into_iter().filter(is_ours).collect()
    }

    /// What is left of looking whether something can be written, where a power cut came between.
    pub(super) fn probes(&self) -> impl Iterator<Item = PathBuf> {
        let is_empty = |path: &PathBuf| length_of_file(path) == Some(0);
        let manifest = self.manifest();
        let probes =
            self.path.ancestors().chain([manifest.as_path()]).map(|path| hidden_sibling(path, PROBE));
        probes.filter(is_empty).collect::<Vec<_>>().into_iter()
    }

    /// Whether there are several files, or may be.
    pub(super) fn is_set(&self, state: &State) -> bool {
        match self.way {
            Way::Together(None) => state.files.iter().any(|file| self.number(&file.name).is_some()),
            Way::Together(Some(_)) => true,
            Way::Each | Way::Repeated => false,
        }
    }

    /// The name of the only file, or of the next one of a set.
    pub(super) fn next_name(&self, state: &State) -> String {
        let next = || {
            let numbers = state.files.iter().filter_map(|file| self.number(&file.name));
            numbers.max().map_or(0, |number| number + 1)
        };
        self.file_name(self.is_set(state).then(next))
    }
}

/// Whether the disk takes no such name, of what is too long for it.
fn is_no_name(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::InvalidFilename)
}

/// The directory of outputs, or that of a set, which a file belongs to.
pub(super) fn owner_of(file: &Path) -> Option<PathBuf> {
    let whole = place_of(file);
    let names = |manifest: &Path, directory: &Path| {
        let state = State::read(manifest).ok().flatten()?;
        let name = key(whole.strip_prefix(directory).ok()?);
        state.names().any(|found| found == name).then(|| directory.to_owned())
    };
    let of = |directory, found: io::Result<Vec<PathBuf>>| {
        found.unwrap_or_default().into_iter().map(move |manifest| (manifest, directory))
    };
    let beside = whole.parent().into_iter().flat_map(|directory| of(directory, beside(directory)));
    let above = whole.ancestors().skip(1).flat_map(|directory| of(directory, inside(directory)));
    beside.chain(above).find_map(|(manifest, directory)| names(&manifest, directory))
}

/// Whether a directory holds outputs that were made here.
pub(crate) fn is_of_outputs(directory: &Path) -> bool {
    inside(directory).is_ok_and(|found| found.iter().any(|path| is_manifest(path)))
}
