//! What was typed → what it means: every rule that spans several options, once.

use std::{
    collections::HashSet,
    num::NonZero,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{args::Args, progress::ProgressMode, request::request};
use crate::{
    device::{DeviceChoice, Taken},
    extractor::{Options, Request},
    hub::{self, HubError, ModelChoice, Settings},
    input::{Inputs, List, Separator},
    job::{Chosen, Job},
    kernels::{MatmulPrecision, physical_cores},
    output::Destination,
    processor::{Fit, ImageSize},
    shard::Selection,
};

/// What was typed, as it is meant.
#[derive(Debug)]
pub(super) struct Settled {
    /// The model, whose files are still to be found.
    pub(super) model: ModelChoice,
    pub(super) job: Chosen,
    pub(super) show: Show,
}

/// What a person, or a program on the other end of a pipe, gets to see.
#[derive(Debug)]
pub(super) struct Show {
    pub(super) args: Args,
    /// What `--progress` means for these inputs.
    pub(super) progress: ProgressMode,
    /// Whether there may be several images.
    pub(super) is_batch: bool,
    /// Whether images that have changed can be made again on their own.
    pub(super) updates: bool,
    pub(super) warns_of_random_weights: bool,
    /// What `--device auto` took, where there was a choice.
    pub(super) took: Option<String>,
    /// The images of which the reason was said beforehand.
    pub(super) told: HashSet<String>,
}

impl Settled {
    /// Which of the model's files are wanted.
    pub(super) fn wanted(&self) -> hub::Wanted {
        let request = &self.job.job().options.request;
        match (request.needs_projector(), request.needs_tower()) {
            (true, _) => hub::Wanted::Projector,
            (false, true) => hub::Wanted::Weights,
            (false, false) => hub::Wanted::Configs,
        }
    }

    /// Settles the arguments.
    pub(super) fn new(args: Args) -> Result<Self> {
        if args.inputs.iter().filter(|path| is_dash(path)).count() > 1 {
            bail!(
                "- is given twice, and standard input holds one image\nhint: name files, or list them with --files-from"
            );
        }
        let job = job(&args)?.choose()?;
        let is_one = job.is_one();
        if args.retry_failures && !job.plan().resumes() {
            bail!(
                "--retry-failures is of an output that goes on where it was\nhint: give -o DIR/, or several images and a file"
            );
        }
        let request = &job.job().options.request;
        let model = model(&args)?;
        // --offline, which is a promise, is kept in any case.
        if args.cache_dir.is_some() && matches!(model, ModelChoice::Here(_)) {
            bail!(
                "--cache-dir is where models of the hub are kept, and none is needed\nhint: leave --cache-dir out"
            );
        }
        check_stdout(&args, is_one)?;
        // Before a model is looked for, which may take long.
        let taken = match request.needs_tower() {
            true => Some(job.job().options.choose_road()?),
            false => None,
        };
        let show = Show {
            // One image is done before a bar could be read.
            progress: match args.progress.unless(args.quiet) {
                ProgressMode::Auto if is_one => ProgressMode::Never,
                mode => mode,
            },
            is_batch: !is_one,
            updates: job.plan().accepts_updates(),
            warns_of_random_weights: args.random_weights.is_some() && request.needs_tower(),
            took: taken.filter(|_| args.device == DeviceChoice::Auto).and_then(|taken| took(&taken)),
            told: HashSet::new(),
            args,
        };
        Ok(Self { model, job, show })
    }
}

impl Show {
    /// Whether files are written, which are asked for beside what is printed.
    pub(super) fn writes(&self) -> bool {
        self.args.output.as_ref().is_some_and(|path| !is_dash(path))
    }

    /// Says something of the run, or of one file.
    pub(super) fn say(&self, kind: &str, path: Option<&str>, message: &str) {
        self.args.progress.voice().say(kind, path, message);
    }

    /// Warns of something, unless it is to be quiet.
    pub(super) fn warn(&self, path: Option<&str>, message: &str) {
        if !self.args.quiet {
            self.say("warning", path, message);
        }
    }
}

/// What was typed, but for the model and what is shown.
fn job(args: &Args) -> Result<Job> {
    let request = request(args)?;
    check_useless(args, &request)?;
    let count = |count: Option<u16>| count.and_then(|count| NonZero::new(usize::from(count)));
    Ok(Job {
        options: Options {
            request,
            alpha: args.alpha,
            exif_orientation: args.exif_orientation,
            max_pixels: args.max_pixels,
            fit: args.fit,
            image_size: args.image_size,
            tiles: args.tiles,
            max_num_patches: args.max_num_patches,
            backend: args.processor,
            device: args.device,
            kernels: args.kernels,
            matmul_precision: args.matmul_precision,
            threads: count(args.threads).unwrap_or_else(physical_cores),
            batch: count(args.batch_size),
        },
        inputs: inputs(args),
        selection: Selection { image_keys: args.image_key.clone(), keep: args.keep.clone() },
        part: args.part,
        output: Destination {
            path: args.output.clone(),
            format: args.format,
            shard_size: args.shard_size,
            keep_extension: args.keep_extension,
            dtype: args.dtype,
            overwrite: args.overwrite,
            update: args.update,
        },
        max_failures: if args.fail_fast { Some(1) } else { args.max_failures },
        accept_failures: args.accept_failures,
        retry_failures: args.retry_failures,
        failures: args.failures.clone(),
    })
}

/// What there is to say of the choice of a device in a build that knows GPUs.
fn took(taken: &Taken) -> Option<String> {
    let knows_gpus = cfg!(any(feature = "cuda", feature = "metal"));
    let why = taken.passed_over.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    knows_gpus.then(|| format!("computing with {}{why}", taken.road.name()))
}

/// Refuses options that say nothing, or contradict each other.
fn check_useless(args: &Args, request: &Request) -> Result<()> {
    if args.null && args.files_from.is_none() {
        bail!(
            "--null is how --files-from ends its paths, and it is not given\nhint: --files-from - -0 reads them from standard input"
        );
    }
    if args.quiet && args.progress == ProgressMode::Always {
        bail!("--progress always and --quiet contradict each other\nhint: leave one of them out");
    }
    if let (Fit::Keep, Some(size @ ImageSize::Exact { height, width })) = (args.fit, args.image_size) {
        bail!(
            "--fit keep keeps a picture's own shape, and --image-size {size} is another\nhint: give the shorter edge alone, --image-size {}",
            height.min(width)
        );
    }
    let of_the_tower = [
        ("--matmul-precision", args.matmul_precision != MatmulPrecision::default()),
        ("--device", args.device != DeviceChoice::default()),
        ("--kernels", args.kernels.is_some()),
    ];
    if let (false, Some((option, _))) = (request.needs_tower(), of_the_tower.iter().find(|(_, given)| *given))
    {
        bail!("{option} affects the tower alone, and pixel_values come before it\nhint: leave {option} out");
    }
    if args.tiles && (args.fit != Fit::Auto || args.image_size.is_some()) {
        bail!("--tiles are the model's own cut of a picture\nhint: leave --fit and --image-size out");
    }
    Ok(())
}

/// Refuses two things on standard output, and failures there, which `--json` tells of beside the rest.
fn check_stdout(args: &Args, is_one: bool) -> Result<()> {
    let dash = |path: &Option<PathBuf>| path.as_deref().is_some_and(is_dash);
    if args.draw.is_some() && args.output.is_none() {
        bail!(
            "--draw makes a picture, and nothing is written\nhint: add -o x.png, or of several images -o DIR/"
        );
    }
    if args.json && dash(&args.output) {
        bail!("--json and -o - both need standard output\nhint: write to a file");
    }
    if args.draw.is_some() && dash(&args.output) && !is_one {
        bail!("--draw -o -: standard output takes the picture of one image\nhint: name a directory");
    }
    if dash(&args.failures) {
        bail!(
            "--failures - names no file\nhint: --json reports failures on standard output, beside all other images"
        );
    }
    Ok(())
}

fn is_dash(path: impl AsRef<Path>) -> bool {
    path.as_ref().as_os_str() == "-"
}

fn inputs(args: &Args) -> Inputs {
    match &args.files_from {
        Some(path) => {
            let separator = if args.null { Separator::Nul } else { Separator::Newline };
            Inputs::List(List { path: path.clone(), separator })
        }
        None => Inputs::Paths(args.inputs.clone()),
    }
}

pub(super) fn model(args: &Args) -> Result<ModelChoice, HubError> {
    let settings = || {
        let mut settings = Settings::from_env(args.cache_dir.clone())?;
        // A dry run does nothing, so it downloads nothing.
        settings.offline |= args.offline || args.dry_run;
        Ok(settings)
    };
    ModelChoice::new(args.model.as_deref(), args.random_weights, args.revision.clone(), settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::hints::told, model::ModelSpec};
    use clap::Parser;

    fn settle(line: &str) -> Result<Settled> {
        let words = ["clip-features", "--random-weights"].into_iter().chain(line.split_whitespace());
        Settled::new(Args::try_parse_from(words)?)
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn one_file_is_one_image_and_all_else_a_batch() {
        let is_batch = |line: &str| settle(line).unwrap().show.is_batch;
        assert!(!is_batch("-") && !is_batch("a.png"));
        assert!(is_batch("src") && is_batch("a b") && is_batch("--files-from - -0"));
    }

    #[test]
    fn a_job_can_be_written_down_and_carried_out_elsewhere() {
        let line = "photos a.tar --tensor hidden_states --layer -2,0..=3 --tokens patch --fit keep --image-size 336 \
            --processor torchvision --alpha drop --exif-orientation apply --matmul-precision high --threads 3 \
            --batch-size 5 --image-key jpg,png --part 3/16 -o out/ --format safetensors --dtype bf16 \
            --keep-extension --update --max-failures 7 --failures failed.jsonl";
        let shared = "a.png --draw 3,5 -o x.png --max-pixels 9 --max-num-patches 64";
        for line in [line, shared, "--files-from list -0 -o x.npy --shard-size 2GB --overwrite"] {
            let job = job(&Args::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).unwrap())
                .unwrap();
            let written = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&written).unwrap(), job, "{written}");
        }
        // What is not said is as it would be without the option.
        let job = job(&Args::try_parse_from(["x", "a.png"]).unwrap()).unwrap();
        let written = r#"{"inputs":{"paths":["a.png"]}}"#;
        assert_eq!(serde_json::from_str::<Job>(written).unwrap(), job);
    }

    #[test]
    fn contradictions_are_refused_with_a_hint() {
        for (line, part) in [
            ("a.png -o x.bin", "writing .bin is not supported"),
            ("a.png -o x.npy --format safetensors", "contradicts"),
            ("a.png --format npy", "--format says how to write, and nothing is written"),
            ("a.png -o x.npy --dtype bf16", "--dtype bf16: .npy has no bfloat16"),
            ("src -o x/ --dtype bf16", "no bfloat16"),
            ("src --draw norm -o x.png", "one file for several images"),
            ("src --draw pca -o x.PNG", "one file for several images"),
            ("a.png --draw pca -o x.npy", "the format png contradicts"),
            ("a.png -o x.npy --shard-size 1GB", "--shard-size splits an archive"),
            ("src -o x.npy --keep-extension", "--keep-extension names the files of a directory"),
            ("src --overwrite", "none are written"),
            ("- -", "- is given twice"),
            ("a b --accept-failures --retry-failures -o -", "--retry-failures is of an output that goes on"),
            ("a.png --tiles --fit pad", "the model's own cut"),
            ("a.png --tiles --image-size 448", "the model's own cut"),
            ("a.png --fit keep --image-size 224x448", "--image-size 224x448 is another"),
            ("a.png --revision v1", "--revision chooses among versions of a model on the hub"),
        ] {
            let message = told(&*settle(line).unwrap_err());
            assert!(message.contains(part), "{line}: {message}");
            assert!(message.contains("\nhint: "), "{line}: {message}");
        }
    }

    #[test]
    fn random_weights_take_a_seed_only_with_an_equals_sign() {
        let random = |line: &str| match settle(line).unwrap().model {
            ModelChoice::Here(ModelSpec::Random { seed, directory }) => (seed, directory),
            other => panic!("{other:?}"),
        };
        assert_eq!(random("b.png"), (0, None));
        let words = ["clip-features", "--random-weights=7", "-m", "src", "a.png"];
        let settled = Settled::new(Args::try_parse_from(words).unwrap()).unwrap();
        let ModelChoice::Here(ModelSpec::Random { seed: 7, directory }) = settled.model else {
            panic!("{:?}", settled.model)
        };
        assert_eq!(directory, Some("src".into()));
    }

    #[test]
    fn offline_and_a_dry_run_make_no_connection() {
        for option in ["--offline", "--dry-run"] {
            let words = ["clip-features", "a.png", "--cache-dir", "cache", option];
            let settled = Settled::new(Args::try_parse_from(words).unwrap()).unwrap();
            assert!(matches!(settled.model, ModelChoice::Hub { settings, .. } if settings.offline));
        }
    }
}
