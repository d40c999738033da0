//! Which model is meant: a path, a name on the hub, or made-up weights.

use std::path::{Path, PathBuf};

use super::{
    CONFIG, Event, HubError, ModelId, Revision, Settings, Snapshot, Wanted, fetch,
    reference::{Reference, reference},
};
use crate::{
    bounded,
    model::{LARGEST_CONFIG, ModelSpec, only_snapshot, tower_elsewhere},
};

/// The model of whoever names none.
const DEFAULT: &str = "openai/clip-vit-large-patch14";

/// A model, and where its files are or come from.
#[derive(Clone, Debug)]
pub enum ModelChoice {
    /// On disk, or made up.
    Here(ModelSpec),
    /// On the hub or in its cache.
    Hub {
        /// Its name.
        id: ModelId,
        /// Its branch, tag or commit.
        revision: Revision,
        /// Where it is looked for.
        settings: Settings,
        /// The seed of made-up weights, where only its architecture is wanted.
        seed: Option<u64>,
    },
    /// A model on disk that names its tower, which is not.
    WithTower {
        /// The model.
        model: ModelSpec,
        /// Its tower.
        tower: Box<Self>,
    },
}

impl ModelChoice {
    /// The model that `name` means: what exists on disk is a path, all else a name on the hub, or the address of its page. Without a name it is
    /// openai/clip-vit-large-patch14, or with a `seed`, which asks for made-up weights, ViT-L/14.
    ///
    /// # Errors
    /// The name is none on the hub, and no such file exists; a revision is given of what has none, or two are; `settings` fails.
    pub fn new(
        name: Option<&Path>,
        seed: Option<u64>,
        revision: Option<Revision>,
        settings: impl FnOnce() -> Result<Settings, HubError>,
    ) -> Result<Self, HubError> {
        let here = |spec: ModelSpec, reason: &dyn Fn() -> String| match &revision {
            Some(_) => Err(HubError::UselessRevision { reason: reason() }),
            None => Ok(Self::Here(spec)),
        };
        let name = match (name, seed) {
            (Some(path), _) if path.exists() => {
                let spec = match seed {
                    None => ModelSpec::Local(path.to_owned()),
                    Some(seed) => ModelSpec::Random { seed, directory: Some(path.to_owned()) },
                };
                if let (None, None, Some(tower)) = (seed, &revision, tower_of(path)) {
                    let tower = Box::new(Self::tower(tower, settings)?);
                    return Ok(Self::WithTower { model: spec, tower });
                }
                return here(spec, &|| format!("{} is a path", path.display()));
            }
            (None, Some(seed)) => {
                let spec = ModelSpec::Random { seed, directory: None };
                return here(spec, &|| "random weights alone ask for none".into());
            }
            (name, _) => name.unwrap_or(Path::new(DEFAULT)),
        };
        let Reference { id, revision: own } = on_hub(name)?;
        let revision = match (own, revision) {
            (Some(there), Some(given)) if there != given => {
                return Err(HubError::TwoRevisions { name: name.display().to_string(), there, given });
            }
            (own, given) => given.or(own).unwrap_or_default(),
        };
        Ok(Self::Hub { id, revision, settings: settings()?, seed })
    }

    /// The tower that a model names. It is a model of its own: what it might name is not looked for.
    fn tower(name: PathBuf, settings: impl FnOnce() -> Result<Settings, HubError>) -> Result<Self, HubError> {
        if name.exists() {
            return Ok(Self::Here(ModelSpec::Local(name)));
        }
        let Reference { id, revision } = on_hub(&name)?;
        Ok(Self::Hub { id, revision: revision.unwrap_or_default(), settings: settings()?, seed: None })
    }

    /// Has the model's files on disk, downloading what is missing; `events` is told of it.
    ///
    /// # Errors
    /// As [`fetch`].
    pub fn obtain(&self, wanted: Wanted, events: &dyn Fn(Event<'_>)) -> Result<ModelSpec, HubError> {
        let spec = self.obtain_itself(wanted, events)?;
        let (Self::Hub { settings, .. }, ModelSpec::Hub { directory, .. }) = (self, &spec) else {
            return Ok(spec);
        };
        let Some(tower) = tower_of(directory) else { return Ok(spec) };
        let tower = Self::tower(tower, || Ok(settings.clone()))?.obtain_itself(of_tower(wanted), events)?;
        Ok(ModelSpec::WithTower { model: Box::new(spec), tower: Box::new(tower) })
    }

    fn obtain_itself(&self, wanted: Wanted, events: &dyn Fn(Event<'_>)) -> Result<ModelSpec, HubError> {
        let (id, revision, settings, seed) = match self {
            Self::Here(spec) => return Ok(spec.clone()),
            Self::WithTower { model, tower } => {
                let tower = tower.obtain_itself(of_tower(wanted), events)?;
                return Ok(ModelSpec::WithTower { model: Box::new(model.clone()), tower: Box::new(tower) });
            }
            Self::Hub { id, revision, settings, seed } => (id, revision, settings, *seed),
        };
        let wanted = if seed.is_some() { Wanted::Configs } else { wanted };
        let Snapshot { directory, model, commit } = fetch(id, revision, settings, wanted, events)?;
        Ok(match seed {
            Some(seed) => ModelSpec::Random { seed, directory: Some(directory) },
            None => ModelSpec::Hub { directory, id: model.to_string(), commit },
        })
    }
}

/// The vision tower that the model in a directory names, which is another model. A path counts from there.
fn tower_of(directory: &Path) -> Option<PathBuf> {
    let snapshot = only_snapshot(directory);
    let directory = snapshot.as_deref().unwrap_or(directory);
    let tower = PathBuf::from(tower_elsewhere(
        &bounded::read_to_string(&directory.join(CONFIG), LARGEST_CONFIG).ok()?,
    )?);
    Some(Some(directory.join(&tower)).filter(|path| path.exists()).unwrap_or(tower))
}

/// What is wanted of a tower whose language model is another model's.
fn of_tower(wanted: Wanted) -> Wanted {
    match wanted {
        Wanted::Configs => Wanted::Configs,
        Wanted::Weights | Wanted::Projector => Wanted::Weights,
    }
}

/// The model of the hub that a name means which is no path.
fn on_hub(name: &Path) -> Result<Reference, HubError> {
    if let Some(found) = name.to_str().and_then(reference) {
        return found;
    }
    let is_file = name.extension().is_some_and(|extension| extension == "safetensors");
    let id = name.to_str().filter(|_| !is_file).and_then(|name| name.parse::<ModelId>().ok());
    let id = id.ok_or_else(|| HubError::NoSuchModel { path: name.to_owned() })?;
    Ok(Reference { id, revision: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(name: &str, seed: Option<u64>, revision: Option<&str>) -> Result<ModelChoice, HubError> {
        let name = (!name.is_empty()).then(|| PathBuf::from(name));
        let revision = revision.map(str::parse).transpose()?;
        ModelChoice::new(name.as_deref(), seed, revision, || Settings::from_env(Some("cache".into())))
    }

    #[test]
    fn a_path_that_exists_is_a_path_and_all_else_an_id() {
        assert!(
            matches!(choose("src/cli", None, None).unwrap(), ModelChoice::Here(ModelSpec::Local(path)) if path == Path::new("src/cli"))
        );
        for (name, expected) in [("", DEFAULT), ("acme/clip", "acme/clip"), ("src/nothing", "src/nothing")] {
            assert!(
                matches!(choose(name, None, None).unwrap(), ModelChoice::Hub { id, .. } if id.as_str() == expected)
            );
        }
    }

    #[test]
    fn an_address_of_the_hub_is_a_model_at_its_revision() {
        let chosen = |name: &str, revision: Option<&str>| match choose(name, None, revision).unwrap() {
            ModelChoice::Hub { id, revision, .. } => (id.to_string(), revision.to_string()),
            other => panic!("{other:?}"),
        };
        let of = |id: &str, revision: &str| (id.to_owned(), revision.to_owned());
        assert_eq!(chosen("hf-hub:acme/clip", None), of("acme/clip", "main"));
        assert_eq!(chosen("https://huggingface.co/acme/clip", Some("v1")), of("acme/clip", "v1"));
        let tree = "https://huggingface.co/acme/clip/tree/v2";
        assert_eq!(chosen(tree, None), of("acme/clip", "v2"));
        assert_eq!(chosen(tree, Some("v2")), of("acme/clip", "v2"));
        let message = choose(tree, None, Some("v1")).unwrap_err().to_string();
        assert!(message.contains("names the revision v2, and v1 is asked for"), "{message}");
        let message = choose("https://huggingface.co/datasets/a/b", None, None).unwrap_err().to_string();
        assert!(message.contains("datasets are no models"), "{message}");
    }

    #[test]
    fn random_weights_follow_an_architecture_or_are_those_of_l14() {
        let random = |name: &str, seed| match choose(name, Some(seed), None).unwrap() {
            ModelChoice::Here(ModelSpec::Random { seed, directory }) => (seed, directory),
            other => panic!("{other:?}"),
        };
        assert_eq!(random("", 0), (0, None));
        assert_eq!(random("src", 7), (7, Some("src".into())));
        let choice = choose("acme/clip", Some(7), None).unwrap();
        assert!(
            matches!(choice, ModelChoice::Hub { seed: Some(7), .. }),
            "the architecture of a model of the hub"
        );
    }

    #[test]
    fn what_is_meant_as_a_path_and_is_none_is_named() {
        for name in ["./x", "../x", "/no/x", "x", "a/b/c", "models/x.safetensors", "~/x", "a/"] {
            let message = choose(name, None, None).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: no such file")), "{message}");
        }
    }

    #[test]
    fn a_revision_is_of_a_model_of_the_hub() {
        let choice = choose("acme/clip", None, Some("v1")).unwrap();
        assert!(matches!(choice, ModelChoice::Hub { revision, .. } if revision.as_str() == "v1"));
        for (name, seed) in [("src", None), ("", Some(0))] {
            let message = choose(name, seed, Some("v1")).unwrap_err().to_string();
            assert!(
                message.contains("revision chooses among versions of a model on the hub"),
                "{name}: {message}"
            );
        }
        assert!(choose("", None, Some("../x")).is_err());
    }
}
