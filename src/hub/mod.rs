//! A model's name → its files on disk: from the cache that Python's huggingface_hub shares, else from the hub.
//!
//! What is in the cache is used as it is. In particular a branch that the cache knows is not looked up again: once
//! everything needed is there, no connection is made, with or without `--offline`. Another revision is had by its
//! name, and a newer state of a branch with `hf download`, or by deleting the cache's `refs/<branch>`.
//!
//! Only what is needed is fetched: the configs, and `model.safetensors` or those shards of its index that the caller
//! asks for; a run that needs no weights fetches none. A model that cannot be opened under these names, be it for a config that is
//! missing or of another kind, or for want of such weights, is looked for under open_clip's.
//!
//! # What does which part
//!
//! The crate hf-hub is not used:
//!
//! - 0.5 sends the token to the host that the hub redirects to; its second process gives up after 5 s of waiting for
//!   the first, where a CLIP takes minutes; it names partial and lock files otherwise than Python, so that the two do
//!   not exclude one another; it has no time limits, and checks neither size nor hash.
//! - 1.0 asks the hub again on each run, gives up on the lock after 10 s, starts every transfer from zero, and brings
//!   284 crates with an asynchronous runtime and a TLS library that may want CMake. Its Xet protocol would speed up
//!   re-downloads of changed models; the hub serves the same files over plain HTTP.
//!
//! So `ureq` with rustls on ring transfers, one request at a time, and what makes a transfer reliable is here.

mod cache;
mod choice;
mod download;
mod error;
mod event;
mod http;
mod lock;
mod names;
mod reference;
mod remote;
mod retry;
mod settings;

use std::path::{Path, PathBuf};

use cache::{Cached, ModelCache, damage};
use remote::Remote;

use crate::bounded;
use crate::model::{
    ADAPTER, LARGEST_CONFIG, ModelError, OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, PIPELINE, SENTENCE, Scope,
    VisionConfig, by_torch, from_hub, names_architecture, nested_image_processor, tower_elsewhere,
    vision_shards,
};

#[doc(hidden)]
pub use cache::refetch_hint;
#[doc(hidden)]
pub use choice::ModelChoice;
pub use error::HubError;
pub use event::Event;
pub use names::{ModelId, Revision};
pub use settings::{Settings, Token};

const CONFIG: &str = "config.json";
/// transformers 5 nests the image processor's settings in the first, and looks there first.
const PROCESSORS: [&str; 2] = ["processor_config.json", "preprocessor_config.json"];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLES: [&str; 3] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "open_clip_pytorch_model.bin"];

/// Which of a model's files are wanted.
///
/// ```
/// # let cache = tempfile::tempdir()?;
/// # let mut settings = Settings::from_lookup(Some(cache.path().into()), |_| None)?;
/// use clip_features::hub::{HubError, Revision, Settings, Wanted, fetch};
///
/// settings.offline = true; // and nothing is in the cache
/// let model = "openai/clip-vit-large-patch14".parse()?;
/// match fetch(&model, &Revision::default(), &settings, Wanted::Configs, &|_| {}) {
///     Err(HubError::NotCached { file, .. }) => assert_eq!(file, "config.json"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The configs of the tower and of the image processor.
    Configs,
    /// The vision tower's weights as well.
    Weights,
    /// Those, and the weights of the projector to the language model.
    Projector,
}

/// Whose names a model's files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Transformers,
    /// `config.json` says the image processor's settings too.
    Timm,
    /// `open_clip_config.json` says both.
    OpenClip,
}

/// A model's files at one commit.
///
/// ```
/// # let cache = tempfile::tempdir()?;
/// # let commit = "32bd64288804d66eefd0ccbe215aa642df71cc41";
/// # let root = cache.path().join("models--openai--clip-vit-large-patch14");
/// # std::fs::create_dir_all(root.join("refs"))?;
/// # std::fs::create_dir_all(root.join("snapshots").join(commit))?;
/// # std::fs::write(root.join("refs/main"), commit)?;
/// # for (file, text) in [("config.json", r#"{"model_type": "clip"}"#), ("preprocessor_config.json", "{}")] {
/// #     std::fs::write(root.join("snapshots").join(commit).join(file), text)?;
/// # }
/// # let mut settings = Settings::from_lookup(Some(cache.path().into()), |_| None)?;
/// use clip_features::hub::{Revision, Settings, Snapshot, Wanted, fetch};
///
/// settings.offline = true; // the cache has the configs
/// let model = "openai/clip-vit-large-patch14".parse()?;
/// let Snapshot { directory, commit, .. } =
///     fetch(&model, &Revision::default(), &settings, Wanted::Configs, &|_| {})?;
/// assert!(directory.join("config.json").exists());
/// assert_eq!(commit, "32bd64288804d66eefd0ccbe215aa642df71cc41"); // of the branch main
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// A directory as transformers' `save_pretrained` writes it, of what was asked for.
    pub directory: PathBuf,
    /// The model.
    pub model: ModelId,
    /// The full hash of the commit.
    pub commit: String,
}

/// Gives the wanted files of a model.
///
/// Files that are in the cache cost no request; `events` is told of those that are fetched.
///
/// ```no_run
/// use clip_features::{Extractor, ModelSpec, Options, hub};
///
/// let model = "openai/clip-vit-large-patch14".parse()?;
/// let settings = hub::Settings::from_env(None)?;
/// let events = |event: hub::Event<'_>| eprintln!("{event:?}");
/// let snapshot = hub::fetch(&model, &hub::Revision::default(), &settings, hub::Wanted::Weights, &events)?;
/// let hub::Snapshot { directory, commit, .. } = snapshot;
/// let model = ModelSpec::Hub { directory, id: model.to_string(), commit };
/// let extractor = Extractor::load(&model, Options::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A file is neither in the cache nor to be had; see [`HubError`].
pub fn fetch(
    model: &ModelId,
    revision: &Revision,
    settings: &Settings,
    wanted: Wanted,
    events: &dyn Fn(Event<'_>),
) -> Result<Snapshot, HubError> {
    let cache = ModelCache::new(&settings.cache, model, settings.symlinks);
    let commit = cache.commit(revision);
    let is_remembered = commit.is_some() && !revision.is_commit();
    let run = |commit| {
        Session { cache: &cache, model, revision, settings, events, remote: None, commit }.run(wanted)
    };
    match run(commit) {
        // The branch was rewritten, and the commit that the cache knows is gone from the hub.
        Err(HubError::RevisionNotFound { .. }) if is_remembered => run(None),
        result => result,
    }
}

/// The files of one snapshot, gathered one by one.
struct Session<'a> {
    cache: &'a ModelCache,
    model: &'a ModelId,
    revision: &'a Revision,
    settings: &'a Settings,
    events: &'a dyn Fn(Event<'_>),
    /// Made when the first file is missing.
    remote: Option<Remote<'a>>,
    /// Known from the cache or from the hub's first answer; all files come from this commit.
    commit: Option<String>,
}

impl<'a> Session<'a> {
    fn run(mut self, wanted: Wanted) -> Result<Snapshot, HubError> {
        let (library, config) = self.library()?;
        let mut found = self.files(library, &config, wanted);
        let is_refused = match &found {
            Ok(has_weights) => !has_weights || wanted == Wanted::Configs && self.check(&config).is_err(),
            Err(error) => matches!(error, HubError::Unsupported { .. } | HubError::FileNotFound { .. }),
        };
        // What cannot be opened under these names may be under open_clip's.
        if is_refused && library != Library::OpenClip {
            match self.obtain(OPEN_CLIP_CONFIG) {
                Ok(Some(config)) if self.files(Library::OpenClip, &config, wanted)? => found = Ok(true),
                Ok(_) | Err(HubError::NotCached { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if !found? {
            return Err(self.no_weights(library)?);
        }
        let commit = self.known_commit().to_owned();
        Ok(Snapshot { directory: self.cache.snapshot(&commit), model: self.model.clone(), commit })
    }

    /// Has the files under a library's names; false if there are no weights under them.
    fn files(&mut self, library: Library, config: &Path, wanted: Wanted) -> Result<bool, HubError> {
        let text = bounded::read_to_string(config, LARGEST_CONFIG).unwrap_or_default();
        // A model whose tower is another model has its processor too.
        if tower_elsewhere(&text).is_none() {
            if wanted != Wanted::Configs {
                self.check(config)?;
            }
            if library == Library::Transformers {
                self.processor()?;
            }
        }
        match wanted {
            Wanted::Configs => Ok(true),
            Wanted::Weights => self.weights(library, Scope::Tower),
            Wanted::Projector => self.weights(library, Scope::Projector),
        }
    }

    /// Refuses a model of which nothing could be used, before its weights are fetched.
    fn check(&self, config: &Path) -> Result<(), HubError> {
        match VisionConfig::from_file(config) {
            Err(ModelError::Config { reason, .. }) => {
                let file = config.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Err(HubError::Unsupported { model: self.model.clone(), file, reason })
            }
            _ => Ok(()),
        }
    }

    /// Has the tower's config, and tells by it whose the model is.
    fn library(&mut self) -> Result<(Library, PathBuf), HubError> {
        // Whoever has cached this one alone has looked for the other.
        let is_open_clips = self.is_cached(OPEN_CLIP_CONFIG) && !self.is_cached(CONFIG);
        let plain = if is_open_clips { Ok(None) } else { self.obtain(CONFIG) };
        match plain {
            Ok(Some(path)) => {
                let is_timms = bounded::read_to_string(&path, LARGEST_CONFIG)
                    .is_ok_and(|text| names_architecture(&text));
                Ok((if is_timms { Library::Timm } else { Library::Transformers }, path))
            }
            Ok(None) => match self.obtain(OPEN_CLIP_CONFIG)? {
                Some(path) => Ok((Library::OpenClip, path)),
                None => Err(self.no_config()),
            },
            // A mirror that knows no error codes answers alike for a file and for a model that it does not have.
            Err(unknown @ HubError::ModelNotFound { .. }) => match self.obtain(OPEN_CLIP_CONFIG) {
                Ok(Some(path)) => Ok((Library::OpenClip, path)),
                _ => Err(unknown),
            },
            Err(error) => Err(error),
        }
    }

    /// Says what a model without a config is, where a file of another library does.
    fn no_config(&mut self) -> HubError {
        const PART: &str = "give its directory with the vision tower";
        let kinds = [
            (
                ADAPTER,
                "an adapter, which changes the weights of another model",
                "put it into that model with PEFT",
            ),
            (PIPELINE, "a pipeline of diffusers, whose models are in directories of their own", PART),
            (SENTENCE, "a model of sentence-transformers, whose parts are in directories of their own", PART),
        ];
        for (file, what, then) in kinds {
            // Whether it is there is asked for the sake of the message alone.
            if self.exists(file).is_ok_and(|is_there| is_there) {
                return HubError::OtherKind { model: self.model.clone(), what, then };
            }
        }
        self.file_not_found(CONFIG)
    }

    fn processor(&mut self) -> Result<(), HubError> {
        // As with a local model, settings nested in processor_config.json come first.
        if let Cached::Present(path) = self.find(PROCESSORS[0])
            && bounded::read_to_string(&path, LARGEST_CONFIG)
                .is_ok_and(|text| nested_image_processor(&text).is_some())
        {
            return Ok(());
        }
        // Whoever has cached this one has looked for the other, or does not want it.
        if self.is_cached(PROCESSORS[1]) {
            return self.require(PROCESSORS[1]).map(drop);
        }
        let mut is_found = false;
        for file in PROCESSORS {
            is_found |= self.obtain(file)?.is_some();
        }
        if is_found { Ok(()) } else { Err(self.file_not_found(PROCESSORS[1])) }
    }

    fn weights(&mut self, library: Library, scope: Scope) -> Result<bool, HubError> {
        let (own, plain) = (&OPEN_CLIP_WEIGHTS[..], &[WEIGHTS, INDEX][..]);
        match library {
            Library::Transformers | Library::Timm => self.weights_among(plain, scope),
            // Beside another config, the plain names are those of the other's weights.
            Library::OpenClip if self.is_cached(CONFIG) => self.weights_among(own, scope),
            Library::OpenClip => self.weights_among(&[own, plain].concat(), scope),
        }
    }

    /// Has the first of these files that the model has, and what it names if it is an index.
    fn weights_among(&mut self, names: &[&str], scope: Scope) -> Result<bool, HubError> {
        // What the cache has says enough: there is no need to ask for the others as well.
        let cached = names.iter().copied().find(|name| self.is_cached(name));
        for name in cached.map_or_else(|| names.to_vec(), |name| vec![name]) {
            let Some(path) = self.obtain(name)? else { continue };
            if name.ends_with(".json") {
                self.shards(path, scope)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn shards(&mut self, index: PathBuf, scope: Scope) -> Result<(), HubError> {
        for shard in vision_shards(&index, scope)? {
            let name =
                shard.file_name().and_then(|name| name.to_str()).filter(|name| names::is_file_name(name));
            let Some(name) = name else {
                let reason = format!("shard name {:?} is not a plain file name", shard.display());
                return Err(HubError::Corrupt { path: index, reason });
            };
            self.require(name)?;
        }
        Ok(())
    }

    /// Says whether there are other weights, which are not read.
    fn no_weights(&mut self, library: Library) -> Result<HubError, HubError> {
        for file in PICKLES {
            if self.exists(file)? {
                let (model, name) =
                    (self.model.clone(), self.model.as_str().rsplit('/').next().unwrap_or_default());
                let (is_open_clips, file) = (file.starts_with("open_clip"), file.to_owned());
                let line = if library == Library::Transformers && !is_open_clips {
                    from_hub(model.as_str(), name)
                } else {
                    let to = if is_open_clips { OPEN_CLIP_WEIGHTS[0] } else { WEIGHTS };
                    format!(
                        "hf download {model} --local-dir {name} && {}",
                        by_torch(&format!("{name}/{file}"), &format!("{name}/{to}"))
                    )
                };
                return Ok(HubError::OnlyPickle { model, file, line });
            }
        }
        Ok(self.file_not_found(if library == Library::OpenClip { OPEN_CLIP_WEIGHTS[0] } else { WEIGHTS }))
    }

    fn find(&self, file: &str) -> Cached {
        self.commit.as_deref().map_or(Cached::Unknown, |commit| self.cache.find(commit, file))
    }

    fn is_cached(&self, file: &str) -> bool {
        matches!(self.find(file), Cached::Present(_))
    }

    fn known_commit(&self) -> &str {
        self.commit.as_deref().expect("known since the first file was found")
    }

    fn require(&mut self, file: &str) -> Result<PathBuf, HubError> {
        self.obtain(file)?.ok_or_else(|| self.file_not_found(file))
    }

    /// A file's path in the snapshot; `None` if the model has no such file.
    fn obtain(&mut self, file: &str) -> Result<Option<PathBuf>, HubError> {
        match self.find(file) {
            Cached::Present(path) => {
                return match damage(&path) {
                    None => Ok(Some(path)),
                    Some(reason) => Err(HubError::Corrupt { path, reason }),
                };
            }
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        let Some(info) = self.ask(file)? else { return Ok(None) };
        let cache = self.cache;
        self.remote(file)?.fetch_blob(cache, &info, file)?;
        cache.link(&info.etag, self.known_commit(), file).map(Some)
    }

    fn exists(&mut self, file: &str) -> Result<bool, HubError> {
        match self.find(file) {
            Cached::Present(_) => Ok(true),
            Cached::Absent => Ok(false),
            Cached::Unknown => Ok(self.ask(file)?.is_some()),
        }
    }

    /// Asks the hub for a file, and remembers what it says of the commit and of a file that is not there.
    fn ask(&mut self, file: &str) -> Result<Option<remote::RemoteFile>, HubError> {
        let at = self.commit.clone().unwrap_or_else(|| self.revision.as_str().to_owned());
        let found = self.remote(file)?.file(&at, file)?;
        match (&found, &self.commit) {
            (None, Some(commit)) => self.cache.remember_absent(commit, file)?,
            (Some(info), None) => {
                self.cache.remember_commit(self.revision, &info.commit)?;
                self.commit = Some(info.commit.clone());
            }
            _ => {}
        }
        Ok(found)
    }

    fn remote(&mut self, file: &str) -> Result<&Remote<'a>, HubError> {
        if self.settings.offline {
            return Err(HubError::NotCached {
                model: self.model.clone(),
                revision: self.revision.clone(),
                file: file.to_owned(),
                cache: self.settings.cache.clone(),
            });
        }
        if self.remote.is_none() {
            self.remote = Some(Remote::new(self.settings, self.model, self.revision, self.events)?);
        }
        Ok(self.remote.as_ref().expect("just made"))
    }

    fn file_not_found(&self, file: &str) -> HubError {
        HubError::FileNotFound {
            model: self.model.clone(),
            revision: self.revision.clone(),
            file: file.to_owned(),
        }
    }
}
