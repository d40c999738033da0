//! A model on a hub, and a cache to fetch it into.

use std::{
    cell::RefCell,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clip_features::hub::{Event, HubError, Settings, Snapshot, Wanted, fetch};
use tempfile::TempDir;

use crate::server::{Hub, Logged};

pub(crate) const MODEL: &str = "acme/clip";
pub(crate) const CONFIG: &[u8] = br#"{"model_type": "clip"}"#;
pub(crate) const PROCESSOR: &[u8] = br#"{"image_processor_type": "CLIPImageProcessor"}"#;
pub(crate) const TOKEN: &str = "hf_secretsecretsecret";

/// Bytes that look random and are not.
pub(crate) fn weights(len: usize) -> Vec<u8> {
    (0..len as u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A hub with one model of a single file, and an empty cache.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) cache: TempDir,
    pub(crate) settings: Settings,
    /// What the last fetch has reported.
    pub(crate) events: RefCell<Vec<String>>,
}

/// Longer than one read of the client.
pub(crate) const LEN: usize = 700_000;

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::without_weights();
        world.hub.add(MODEL, "model.safetensors", &weights(LEN), true);
        world
    }

    pub(crate) fn without_weights() -> Self {
        let hub = Hub::start();
        hub.add(MODEL, "config.json", CONFIG, false);
        hub.add(MODEL, "preprocessor_config.json", PROCESSOR, false);
        hub.add(MODEL, "README.md", b"not needed", false);
        let cache = tempfile::tempdir().unwrap();
        let settings = settings(&hub.endpoint, cache.path(), &[]);
        Self { hub, cache, settings, events: RefCell::default() }
    }

    pub(crate) fn fetch(&self) -> Result<Snapshot, HubError> {
        self.fetch_revision("main")
    }

    pub(crate) fn fetch_revision(&self, revision: &str) -> Result<Snapshot, HubError> {
        self.events.borrow_mut().clear();
        let on_event = |event: Event<'_>| self.events.borrow_mut().push(format!("{event:?}"));
        let (model, revision) = (MODEL.parse().unwrap(), revision.parse().unwrap());
        fetch(&model, &revision, &self.settings, Wanted::Weights, &on_event)
    }

    /// Fetches, and gives the error's text.
    pub(crate) fn refusal(&self) -> String {
        clip_features::cli::told(&self.fetch().unwrap_err())
    }

    pub(crate) fn events_with(&self, kind: &str) -> usize {
        self.events.borrow().iter().filter(|event| event.starts_with(kind)).count()
    }

    /// The model's folder in the cache.
    pub(crate) fn folder(&self) -> PathBuf {
        self.cache.path().join("models--acme--clip")
    }
}

/// Settings for an endpoint and a cache; failures are tried again at once.
pub(crate) fn settings(endpoint: &str, cache: &Path, variables: &[(&str, &str)]) -> Settings {
    let lookup = |name: &str| match name {
        "HF_ENDPOINT" => Some(OsString::from(endpoint)),
        _ => variables.iter().find(|(found, _)| *found == name).map(|(_, value)| OsString::from(value)),
    };
    let settings = Settings::from_lookup(Some(cache.to_owned()), lookup).unwrap();
    Settings { first_pause: Duration::from_millis(1), ..settings }
}

/// The requests of a kind, such as `GET /lfs/`.
pub(crate) fn count(log: &[Logged], request: &str) -> usize {
    log.iter().filter(|logged| format!("{} {}", logged.method, logged.path).contains(request)).count()
}
