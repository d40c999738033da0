//! Where an output goes and what it is: data, made once.

use std::{
    io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Contents, Format, Found, OutputError, OutputFile, Part, Planned, Setting, Sink,
    collection::{Collection, Way},
    disk::{Disk, check_way, end_of_links, probe_sibling, probe_tree, readable_size},
    engine::Engine,
    manifest::State,
    one::{self, Nothing, OneFile},
    stream,
};

/// Where an output goes. Nothing is touched before [`Plan::open`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) kind: Kind,
    /// Which part of the work it takes, if others do the rest.
    pub part: Option<Part>,
    pub(super) disk: Disk,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nowhere.
    Nothing,
    /// Standard output.
    Stdout { format: Format, keep_extension: bool },
    /// A file, of one image.
    File { path: PathBuf, format: Format },
    /// A place of many images.
    Many(Collection),
}

impl Kind {
    /// Whether a setting means anything there; one that does not is refused.
    pub(super) fn accepts(&self, setting: Setting) -> bool {
        let is_tar = self.format() == Some(Format::Tar);
        let way = match self {
            Self::Many(collection) => Some(collection.way),
            _ => None,
        };
        match setting {
            Setting::Format => !matches!(self, Self::Nothing),
            Setting::ShardSize => matches!(way, Some(Way::Together(_))),
            Setting::KeepExtension => way == Some(Way::Each) || is_tar && way != Some(Way::Repeated),
            Setting::Overwrite => way.is_some() || matches!(self, Self::File { .. }),
            Setting::Update => way == Some(Way::Each),
            Setting::Part => !matches!(self, Self::File { .. }),
            Setting::Keep => is_tar,
        }
    }

    pub(super) fn format(&self) -> Option<Format> {
        match self {
            Self::Nothing => None,
            Self::Stdout { format, .. } | Self::File { format, .. } => Some(*format),
            Self::Many(collection) => Some(collection.format),
        }
    }
}

impl Plan {
    pub(super) fn many(&self) -> Option<&Collection> {
        match &self.kind {
            Kind::Many(collection) => Some(collection),
            _ => None,
        }
    }

    /// In words, for a person.
    pub fn describe(&self, contents: &Contents) -> String {
        match &self.kind {
            Kind::Nothing => "none, shapes are printed".into(),
            Kind::Stdout { format: Format::Tar, .. } => "standard output, a tar".into(),
            Kind::Stdout { .. } => "standard output".into(),
            Kind::File { path, format } if one::files(path, *format, contents).len() > 1 => {
                format!("{}, one file a tensor", path.display())
            }
            Kind::File { path, .. } => path.display().to_string(),
            Kind::Many(collection) => {
                let (path, format) = (collection.path.display(), collection.format.name());
                match collection.way {
                    Way::Each => format!("{path}, one .{format} an image"),
                    Way::Repeated => format!("{path}, one tar a tar"),
                    Way::Together(None) => format!("{path}, one file"),
                    Way::Together(Some(limit)) => format!(
                        "{} and so on, files of at most {}",
                        collection.file(&collection.file_name(Some(0))).display(),
                        readable_size(limit)
                    ),
                }
            }
        }
    }

    /// The format of what is written; none where nothing is.
    pub fn format(&self) -> Option<Format> {
        self.kind.format()
    }

    /// The file or directory that is written, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Nothing | Kind::Stdout { .. } => None,
            Kind::File { path, .. } => Some(path),
            Kind::Many(collection) => Some(&collection.path),
        }
    }

    /// The directory that is written into, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        self.many().filter(|collection| collection.is_directory()).map(|collection| collection.path.as_path())
    }

    /// Whether it repeats tars one by one, so that a tar rather than an image has a place, and is complete.
    pub fn repeats_tars(&self) -> bool {
        self.many().is_some_and(|collection| collection.way == Way::Repeated)
    }

    /// The same with outputs that are named for images with their extensions; none where that says nothing.
    pub fn with_extensions(&self) -> Option<Self> {
        if !self.kind.accepts(Setting::KeepExtension) {
            return None;
        }
        let mut plan = self.clone();
        match &mut plan.kind {
            Kind::Many(Collection { keep_extension, .. }) | Kind::Stdout { keep_extension, .. } => {
                *keep_extension = true;
            }
            Kind::Nothing | Kind::File { .. } => {}
        }
        Some(plan)
    }

    /// Whether images that have changed can be made again on their own.
    pub fn accepts_updates(&self) -> bool {
        self.kind.accepts(Setting::Update)
    }

    /// Whether a run that was cut short goes on where it was.
    pub fn resumes(&self) -> bool {
        self.many().is_some()
    }

    /// The place of an image's output, which no other image may share; none where images have no names.
    pub fn place(
        &self,
        contents: &Contents,
        key: &str,
        name: &Path,
        sample: Option<&str>,
    ) -> Option<PathBuf> {
        match &self.kind {
            Kind::Many(collection) => Some(collection.place(contents, key, name, sample)),
            Kind::Stdout { format: Format::Tar, keep_extension } => {
                Some(super::layout::sample_name(name, sample, *keep_extension).into())
            }
            _ => None,
        }
    }

    /// The file that holds one image's output, or one tar's where these are repeated, alone; none where there is no such file.
    pub fn own_file(&self, contents: &Contents, name: &Path) -> Option<PathBuf> {
        let collection = self.many().filter(|collection| collection.is_directory())?;
        Some(collection.place(contents, "", name, None))
    }

    /// The files that are not one image's alone and may be replaced or removed, whether they are there or not.
    pub fn replaced(&self, contents: &Contents) -> Vec<PathBuf> {
        match &self.kind {
            Kind::Nothing | Kind::Stdout { .. } => Vec::new(),
            Kind::File { path, format } => one::files(path, *format, contents),
            Kind::Many(collection) => {
                let mut files = vec![collection.manifest()];
                if let Way::Together(limit) = collection.way {
                    files.push(collection.file(&collection.file_name(limit.map(|_| 0))));
                }
                if contents.overwrite {
                    // What is named as a file of the set is replaced, whoever made it.
                    files.extend(collection.numbered());
                    let states = collection.manifests().unwrap_or_default().into_iter();
                    let states = states.filter_map(|path| State::read(&path).ok()?);
                    for state in states {
                        files.extend(state.names().filter_map(|name| collection.listed(name)));
                    }
                }
                files
            }
        }
    }

    /// Whether what it writes of one image could be taken for an image, or a tar of some.
    pub fn writes_inputs(&self) -> bool {
        matches!(self.format(), Some(Format::Png | Format::Tar))
    }

    /// The files that earlier runs, and other parts of the job, have written there.
    pub fn shared_files(&self) -> Vec<PathBuf> {
        let Some(collection) = self.many() else { return Vec::new() };
        let states = collection.all_manifests().into_iter().filter_map(|path| State::read(&path).ok()?);
        let files = |state: State| state.names().map(|name| collection.base().join(name)).collect::<Vec<_>>();
        states.flat_map(files).collect()
    }

    /// Adds an image to those that are to be written.
    pub fn add_planned(&self, planned: &mut Planned, key: &str, name: &Path) {
        planned.add(key, &self.many().and_then(|many| many.sample_name(name, None)).unwrap_or_default());
    }

    /// Sees that something can be written there, whatever it will be, and leaves it as it is.
    ///
    /// # Errors
    /// Its directory does not exist, or cannot be written.
    pub fn probe(&self) -> Result<(), OutputError> {
        match &self.kind {
            Kind::Nothing | Kind::Stdout { .. } => Ok(()),
            Kind::File { path, .. } => OutputFile::probe(path),
            Kind::Many(collection) if collection.is_directory() => {
                check_root(&collection.path)?;
                probe_tree(&collection.path, &collection.manifest())
            }
            Kind::Many(collection) => probe_sibling(&collection.path),
        }
    }

    /// Refuses what cannot succeed, before any work.
    ///
    /// # Errors
    /// The contents do not go there, or its directory does not exist.
    pub fn check(&self, contents: &Contents) -> Result<(), OutputError> {
        match &self.kind {
            Kind::Nothing | Kind::Stdout { .. } => Ok(()),
            Kind::File { path, .. } => OutputFile::check_directory(path),
            Kind::Many(collection) => {
                if let Some(layout) = collection.layout() {
                    layout.check(&collection.path, contents)?;
                }
                match collection.is_directory() {
                    true => check_root(&collection.path),
                    false => OutputFile::check_directory(&collection.path),
                }
            }
        }
    }

    /// Refuses to replace what is in the place of one image's file, and is none that the same command would have made.
    ///
    /// # Errors
    /// As said.
    pub fn check_replaced(&self, contents: &Contents) -> Result<(), OutputError> {
        match &self.kind {
            Kind::File { path, format } if !contents.overwrite => one::check_free(path, *format, contents),
            _ => Ok(()),
        }
    }

    /// Looks at what is there already; nothing is touched. None where a run begins anew in any case.
    ///
    /// # Errors
    /// Outputs of other settings, or of unknown origin, are there, or something that is damaged.
    pub fn examine(&self, contents: &Contents) -> Result<Option<Arc<Found>>, OutputError> {
        self.many().map(|collection| Found::at(collection, contents).map(Arc::new)).transpose()
    }

    /// Of each part of the job, or of the only one, whether this is so of what is there already; it is not where nothing is resumed.
    ///
    /// # Errors
    /// As [`Plan::examine`].
    pub fn examine_parts(
        &self,
        contents: &Contents,
        is_so: impl Fn(usize, &Found) -> bool,
    ) -> Result<Vec<bool>, OutputError> {
        let count = self.part.map_or(NonZero::<usize>::MIN, |part| part.count);
        let Some(whole) = self.many() else { return Ok(vec![false; count.get()]) };
        // What lies in one directory is read once.
        let states = whole.states(contents, |path| self.part.is_some() || path != whole.manifest())?;
        let each = (0..count.get()).map(|index| {
            let part = self.part.map(|_| Part { index, count });
            let found = Found::among(&Collection { part, ..whole.clone() }, contents, &states)?;
            Ok(is_so(index, &found))
        });
        each.collect()
    }

    /// Opens it for a run, given what was found there.
    ///
    /// # Errors
    /// Another process writes there, or the disk is full or fails.
    pub fn open(
        &self,
        contents: &Contents,
        found: Option<Arc<Found>>,
        planned: Planned,
    ) -> Result<Box<dyn Sink>, OutputError> {
        Ok(match &self.kind {
            Kind::Nothing => Box::new(Nothing),
            Kind::Stdout { format: Format::Tar, keep_extension } => {
                Box::new(stream::Samples::open(contents, *keep_extension)?)
            }
            Kind::Stdout { format, .. } => {
                Box::new(stream::Files { format: *format, contents: contents.clone() })
            }
            Kind::File { path, format } => {
                let (format, files) = (*format, one::files(path, *format, contents));
                files.iter().try_for_each(|file| OutputFile::probe(file))?;
                Box::new(OneFile { disk: self.disk.clone(), files, format, contents: contents.clone() })
            }
            Kind::Many(collection) => {
                let found = match found {
                    Some(found) => found,
                    None => Arc::new(Found::at(collection, contents)?),
                };
                Box::new(Engine::open(self.disk.clone(), found, contents, planned)?)
            }
        })
    }
}

/// Refuses something else in a directory's place.
fn check_root(root: &Path) -> Result<(), OutputError> {
    // Nothing is at `file/` where `file` is no directory.
    let place = root.components().as_path();
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    if place.is_symlink() && std::fs::metadata(place).is_err_and(is_missing) {
        let end = end_of_links(place);
        let reason =
            format!("is a link to {}, which is not there\nhint: create that with mkdir -p", end.display());
        return Err(OutputError::Misplaced { path: root.to_owned(), reason });
    }
    if place.exists() && !root.is_dir() {
        let reason = "is not a directory, and several images are to be written\n\
                      hint: give another path"
            .into();
        return Err(OutputError::Misplaced { path: root.to_owned(), reason });
    }
    check_way(root)
}
