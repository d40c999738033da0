//! `--model` and its companions: which model is meant, and how its files are had.

use std::path::Path;

use anyhow::{Result, bail};
use clip_features::{
    hub::{self, HubError, ModelId, Reporter, Revision, Settings, Snapshot, Wanted},
    model::ModelSpec,
};

use super::{Args, args::ProgressMode};

const DEFAULT: &str = "openai/clip-vit-large-patch14";

/// The model that the arguments name.
#[derive(Clone, Debug)]
pub(crate) enum ModelChoice {
    /// On disk, or made up.
    Here(ModelSpec),
    /// On the hub or in its cache. With a seed, only its architecture is wanted.
    Hub { id: ModelId, revision: Revision, settings: Settings, seed: Option<u64>, is_silent: bool },
}

impl ModelChoice {
    pub(super) fn settle(args: &Args) -> Result<Self> {
        let name = match (&args.model, args.random_weights) {
            (Some(path), _) if path.exists() => {
                Self::refuse_revision(args, &format!("{} is a path", path.display()))?;
                return Ok(Self::Here(match args.random_weights {
                    None => ModelSpec::Local(path.clone()),
                    Some(seed) => ModelSpec::Random { seed, directory: Some(path.clone()) },
                }));
            }
            (None, Some(seed)) => {
                Self::refuse_revision(args, "--random-weights alone asks for none")?;
                return Ok(Self::Here(ModelSpec::Random { seed, directory: None }));
            }
            (None, None) => Path::new(DEFAULT),
            (Some(name), _) => name,
        };
        let Some(id) = model_id(name) else {
            bail!(
                "{}: no such file or directory\nhint: a model of the hub is named ORG/NAME",
                name.display()
            );
        };
        let mut settings = Settings::from_env(args.cache_dir.clone())?;
        // A dry run does nothing, so it downloads nothing.
        settings.offline |= args.offline || args.dry_run;
        let revision = args.revision.clone().unwrap_or_default();
        let is_silent = args.quiet || args.progress == ProgressMode::Never;
        Ok(Self::Hub { id, revision, settings, seed: args.random_weights, is_silent })
    }

    fn refuse_revision(args: &Args, reason: &str) -> Result<()> {
        if args.revision.is_some() {
            bail!("--revision is of a model of the hub, and {reason}\nhint: leave --revision out");
        }
        Ok(())
    }

    /// Has the model's files on disk, downloading what is missing.
    pub(crate) fn obtain(&self, wanted: Wanted) -> Result<ModelSpec, HubError> {
        let (id, revision, settings, seed, is_silent) = match self {
            Self::Here(spec) => return Ok(spec.clone()),
            Self::Hub { id, revision, settings, seed, is_silent } => {
                (id, revision, settings, seed, *is_silent)
            }
        };
        let wanted = if seed.is_some() { Wanted::Configs } else { wanted };
        let reporter = if is_silent { Reporter::silent() } else { Reporter::new() };
        let Snapshot { directory, model, commit } =
            hub::fetch(id, revision, settings, wanted, &|event| reporter.report(event))?;
        Ok(match *seed {
            Some(seed) => ModelSpec::Random { seed, directory: Some(directory) },
            None => ModelSpec::Hub { directory, id: model.to_string(), commit },
        })
    }
}

/// The name of a model, unless it is plainly meant as a path.
fn model_id(name: &Path) -> Option<ModelId> {
    let is_file = name.extension().is_some_and(|extension| extension == "safetensors");
    name.to_str().filter(|_| !is_file)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settle(line: &str) -> Result<ModelChoice> {
        let words =
            ["clip-features", "a.png", "--cache-dir", "cache"].into_iter().chain(line.split_whitespace());
        ModelChoice::settle(&Args::try_parse_from(words)?)
    }

    #[test]
    fn a_path_that_exists_is_a_path_and_all_else_an_id() {
        assert!(
            matches!(settle("-m src/cli").unwrap(), ModelChoice::Here(ModelSpec::Local(path)) if path == Path::new("src/cli"))
        );
        for (line, expected) in
            [("", DEFAULT), ("-m acme/clip", "acme/clip"), ("-m src/nothing", "src/nothing")]
        {
            assert!(matches!(settle(line).unwrap(), ModelChoice::Hub { id, .. } if id.as_str() == expected));
        }
    }

    #[test]
    fn random_weights_take_a_seed_only_with_an_equals_sign() {
        let random = |line: &str| match settle(line).unwrap() {
            ModelChoice::Here(ModelSpec::Random { seed, directory }) => (seed, directory),
            other => panic!("{other:?}"),
        };
        assert_eq!(random("--random-weights b.png"), (0, None));
        assert_eq!(random("--random-weights=7 -m src"), (7, Some("src".into())));
        let choice = settle("--random-weights=7 -m acme/clip").unwrap();
        assert!(
            matches!(choice, ModelChoice::Hub { seed: Some(7), .. }),
            "the architecture of a model of the hub"
        );
    }

    #[test]
    fn what_is_meant_as_a_path_and_is_none_is_named() {
        for name in ["./x", "../x", "/no/x", "x", "a/b/c", "models/x.safetensors", "~/x", "a/"] {
            let message = settle(&format!("-m {name}")).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: no such file")), "{message}");
        }
    }

    #[test]
    fn a_revision_is_of_a_model_of_the_hub() {
        let choice = settle("-m acme/clip --revision v1").unwrap();
        assert!(matches!(choice, ModelChoice::Hub { revision, .. } if revision.as_str() == "v1"));
        for line in ["-m src --revision v1", "--random-weights --revision v1"] {
            assert!(settle(line).unwrap_err().to_string().contains("--revision"), "{line}");
        }
        assert!(settle("--revision ../x").is_err());
    }

    #[test]
    fn offline_and_a_dry_run_make_no_connection() {
        for line in ["--offline", "--dry-run"] {
            assert!(matches!(settle(line).unwrap(), ModelChoice::Hub { settings, .. } if settings.offline));
        }
    }
}
