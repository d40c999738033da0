//! Images that share a file.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use super::{
    Engine,
    room::{Room, lines_of},
};
use crate::output::{
    Format, Image, OutputError, Written,
    collection::{Collection, Way},
    disk::{DiskFile, parent},
    layout::Layout,
    manifest::{FileState, Line, Place},
    planned::json_bytes,
    sum::Summed,
};

/// A file that takes more.
pub(super) struct Growing {
    /// Its place among the files.
    pub(super) place: usize,
    pub(super) file: DiskFile,
    /// Where its entries begin.
    start: u64,
    /// Bytes of its entries.
    data: u64,
    /// Bytes of their lines in the head.
    lines: u64,
}

/// An image on its way into a file, and what it takes there.
struct Incoming<'a, 'b> {
    image: &'a Image<'b>,
    /// What it is called in the file.
    name: String,
    /// Bytes of its key as JSON.
    key: u64,
    shapes: Vec<Vec<usize>>,
    bytes: u64,
}

impl Engine {
    pub(super) fn layout(&self) -> &'static dyn Layout {
        self.collection().layout().expect("images share files")
    }

    /// Adds an image to the file that takes it.
    pub(super) fn append(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        let (layout, path) = (self.layout(), self.collection().path.clone());
        let misplaced = |reason: String| OutputError::Misplaced { path: path.clone(), reason };
        let incoming = self.incoming(layout, image);
        if self.found.stored(image.key, |_| ()).is_some() {
            return Err(misplaced(format!("cannot hold a second entry {}", image.key)));
        }
        let repeated = match (self.collection().way, image.sample) {
            (Way::Repeated, None) => {
                return Err(misplaced("an output directory of tars needs tar inputs".into()));
            }
            (Way::Repeated, Some(sample)) => Some(Collection::tar_name(&sample.shard)),
            _ => None,
        };
        if self.has_sample(repeated.as_deref(), &incoming.name) {
            return Err(misplaced(format!("has a sample {} already", incoming.name)));
        }
        {
            let state = self.found.read();
            let first = state.files.iter().find_map(|file| file.held.first());
            layout.admits(first, image, &incoming.name).map_err(misplaced)?;
        }
        let empty = self.room(&incoming, 0, 0);
        if empty.fit([(incoming.key, incoming.bytes)]).count == 0 {
            let reason = format!("{} and a file's head take more than {} bytes", image.key, empty.limit);
            return Err(misplaced(reason));
        }
        let mut notices = Vec::new();
        self.make_room(&incoming, repeated.as_deref(), &mut notices)?;
        let growing = self.growing.as_mut().expect("room was made in it");
        let target = self.found.read().files[growing.place].name.clone();
        let io_error = |source| OutputError::Io { path: path.clone(), source };
        let mut summed = Summed::new(BufWriter::with_capacity(1 << 18, &mut growing.file));
        let laid = layout.lay(&mut summed, &self.contents, image, &incoming.name);
        laid.and_then(|()| summed.flush()).map_err(io_error)?;
        let (length, crc32) = (summed.count(), summed.crc32());
        drop(summed);
        let offset = growing.data;
        let shapes = &mut incoming.shapes.iter().map(Vec::as_slice);
        growing.lines += layout.line_bytes(&self.contents, incoming.key, shapes, offset);
        growing.data += length;
        self.group.has_grown = true;
        let output = self.collection().file(&target);
        let sample = (self.collection().format == Format::Tar).then_some(incoming.name);
        if let (Some(sample), Some(growing)) = (&sample, &self.growing) {
            let scope = if repeated.is_some() { growing.place } else { 0 };
            self.samples.insert((scope, sample.as_str().into()));
        }
        self.enter(image, sample, vec![Place { file: target, offset, length, crc32 }]);
        Ok(Written { outputs: vec![output], notices, ..Written::default() })
    }

    /// Whether a tar has a sample of this name: the one that is repeated, or any file of a set.
    fn has_sample(&self, repeated: Option<&str>, name: &str) -> bool {
        let scope = match repeated {
            Some(target) => self.found.read().file(target),
            None => Some(0),
        };
        scope.is_some_and(|scope| self.samples.contains(&(scope, name.into())))
    }

    fn incoming<'a, 'b>(&self, layout: &dyn Layout, image: &'a Image<'b>) -> Incoming<'a, 'b> {
        let collection = self.collection();
        let sample = image.sample.map(|sample| sample.key.as_str());
        let name = collection.sample_name(image.name, sample).unwrap_or_else(|| image.key.to_owned());
        let key = json_bytes(image.key);
        let tensors = image.content.tensors();
        let shapes = tensors.iter().map(|array| layout.shape(&array.shape).to_vec()).collect();
        let bytes = layout.entry_bytes(&self.contents, image, &name);
        Incoming { image, name, key, shapes, bytes }
    }

    fn room(&self, incoming: &Incoming<'_, '_>, lines: u64, data: u64) -> Room<'_> {
        let (layout, contents, head) = (self.layout(), &self.contents, self.head);
        let limit = self.collection().limit();
        Room { layout, contents, head, limit, lines, data, shapes: incoming.shapes.clone() }
    }

    /// Sees that there is a file that takes an image: begins one, or the next one, or gives it more room.
    fn make_room(
        &mut self,
        incoming: &Incoming<'_, '_>,
        repeated: Option<&str>,
        notices: &mut Vec<String>,
    ) -> Result<(), OutputError> {
        let layout = self.layout();
        loop {
            let Some(growing) = &self.growing else {
                self.open_file(incoming, repeated, notices)?;
                continue;
            };
            if repeated.is_some_and(|target| self.found.read().files[growing.place].name != target) {
                self.seal()?;
                continue;
            }
            let (start, lines, data) = (growing.start, growing.lines, growing.data);
            let room = self.room(incoming, lines, data);
            let fit = room.fit([(incoming.key, incoming.bytes)]);
            if fit.count == 1 && fit.start <= start && room.takes(start, incoming.bytes) {
                return Ok(());
            }
            let is_set = self.collection().is_set(&self.found.read());
            if is_set && data > 0 {
                self.seal()?;
            } else if fit.count == 1 {
                // Nobody knew that so many would come.
                let twice = layout.start(2 * start).min(layout.largest_start());
                let needed = self.start_for(incoming, lines, data);
                // A file of a set has no room to give away.
                self.widen(growing.place, if is_set { needed } else { needed.max(twice) })?;
            } else {
                let entries = self.found.read().files[growing.place].held.len();
                self.seal()?;
                self.commit_group()
                    .map_err(|source| OutputError::Io { path: self.collection().path.clone(), source })?;
                return Err(OutputError::Full { path: self.collection().path.clone(), entries });
            }
        }
    }

    /// Where entries are to begin in a file that holds some, and takes this image and those after it.
    fn start_for(&self, incoming: &Incoming<'_, '_>, lines: u64, data: u64) -> u64 {
        let room = self.room(incoming, lines, data);
        let place = incoming.image.place;
        let report = incoming.image.report.len() as u64;
        // Images that are no tensors' size are taken for one like this.
        let bytes =
            |sample| room.layout.planned_bytes(&self.contents, sample, report).unwrap_or(incoming.bytes);
        let planned = self.planned.from(place).map(|(key, sample)| (key, bytes(sample)));
        let fit = room.fit(planned);
        let least = room.fit([(incoming.key, incoming.bytes)]).start;
        let start = match fit.count {
            0 => room.guess(incoming.key, incoming.bytes),
            _ => fit.start.max(least),
        };
        if room.takes(start, incoming.bytes) { start } else { least }
    }

    /// Opens the file that the next image goes to: one that grows already, or takes more, or a new one.
    fn open_file(
        &mut self,
        incoming: &Incoming<'_, '_>,
        target: Option<&str>,
        notices: &mut Vec<String>,
    ) -> Result<(), OutputError> {
        let (place, name) = {
            let (collection, state) = (self.collection(), self.found.read());
            let growing = match target {
                Some(target) => state.file(target).filter(|&place| state.files[place].grows_from.is_some()),
                None => state.files.iter().rposition(|file| file.grows_from.is_some()),
            };
            // What was removed of a set is made again under its name.
            let lost = |file: &&FileState| file.sealed.is_none() && file.grows_from.is_none();
            let next = || match (target, state.files.iter().find(lost)) {
                (Some(target), _) => target.to_owned(),
                (None, Some(file)) => file.name.clone(),
                (None, None) => collection.next_name(&state),
            };
            let name = growing.map_or_else(next, |place| state.files[place].name.clone());
            (state.file(&name), name)
        };
        match place {
            Some(place) if self.found.read().files[place].grows_from.is_some() => self.go_on(place),
            Some(place) if self.found.read().files[place].sealed.is_some() => {
                let (lines, data) = {
                    let state = self.found.read();
                    (lines_of(self.layout(), &self.contents, &state.files[place]), state.files[place].data())
                };
                let start = self.start_for(incoming, lines, data);
                notices.extend(self.grow(place, start)?);
                Ok(())
            }
            _ => {
                let start = self.start_for(incoming, 0, 0);
                self.begin(&name, start)
            }
        }
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, name: &str, start: u64) -> Result<(), OutputError> {
        let collection = self.collection().clone();
        let target = collection.file(name);
        let known = self.found.read().file(name);
        self.check_free(name, &target)?;
        if collection.is_directory() {
            self.disk.make_directories(&collection.path, &target)?;
        }
        let generation = known.map_or(0, |place| self.found.read().files[place].generation) + 1;
        let partial = collection.partial(name, generation);
        let io_error = |source| OutputError::Io { path: target.clone(), source };
        if known.is_none() {
            self.announce(name).map_err(io_error)?;
        }
        let mut file = self.disk.create(&partial).map_err(io_error)?;
        self.layout().begin(&mut file, &self.contents, start).map_err(io_error)?;
        self.group.fresh.insert(parent(&partial).to_owned());
        self.group.has_grown = true;
        self.add(Line::File { file: name.to_owned(), start, held: 0 });
        self.take_up(name, file)
    }

    /// Opens a file that a run before has begun; makes it anew where entries of it are void that the manifest still speaks of.
    pub(super) fn go_on(&mut self, place: usize) -> Result<(), OutputError> {
        let (name, partial, start, length, is_torn) = {
            let state = self.found.read();
            let file = &state.files[place];
            let partial = self.collection().partial(&file.name, file.generation);
            (file.name.clone(), partial, file.start, file.start + file.data(), file.is_torn)
        };
        if is_torn {
            return self.widen(place, start);
        }
        let io_error = |source| OutputError::Io { path: self.collection().file(&name), source };
        let file = self.disk.reopen(&partial, length).map_err(io_error)?;
        self.take_up(&name, file)
    }

    /// Lets a file that is open take what comes.
    pub(super) fn take_up(&mut self, name: &str, file: DiskFile) -> Result<(), OutputError> {
        let state = self.found.read();
        let place = state.file(name).expect("a line speaks of it");
        let found = &state.files[place];
        let lines = lines_of(self.layout(), &self.contents, found);
        let (start, data) = (found.start, found.data());
        drop(state);
        self.growing = Some(Growing { place, file, start, data, lines });
        Ok(())
    }
}

/// The permissions of a file, if there is one.
pub(super) fn permissions(path: &PathBuf) -> io::Result<Option<fs::Permissions>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
