//! Raw arguments → a plan: every rule that spans several options, once.

use std::{
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clip_features::{
    extractor::{Request, TensorKind, Tokens},
    image::DecodeOptions,
    input::Separator,
    kernels::physical_cores,
    output::{ArchiveNames, Dtype, Format, TreeNames},
};

use super::{Args, ModelChoice, args::ProgressMode};

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// One image: its file, or standard input.
    One(PathBuf),
    /// Files and directories.
    Paths(Vec<PathBuf>),
    /// A list of files.
    List(PathBuf, Separator),
}

/// Where tensors go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nowhere: the shapes are printed.
    Nothing,
    /// One image's, into a file.
    File(PathBuf, Format),
    /// Into a directory, one file an image.
    Tree(TreeNames),
    /// Into one archive.
    Archive(ArchiveNames),
    /// To standard output, one image after the other.
    Stdout(Format),
}

impl Target {
    /// The file or directory that is written, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) => Some(path),
            Self::Tree(names) => Some(&names.root),
            Self::Archive(names) => Some(&names.path),
            Self::Nothing | Self::Stdout(_) => None,
        }
    }
}

/// What a run will do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) inputs: Inputs,
    pub(crate) model: ModelChoice,
    pub(crate) decode: DecodeOptions,
    pub(crate) tensor: TensorKind,
    pub(crate) request: Request,
    pub(crate) target: Target,
    pub(crate) dtype: Dtype,
    pub(crate) overwrite: bool,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) progress: ProgressMode,
    /// The number of failures that ends the run.
    pub(crate) max_failures: Option<u64>,
    pub(crate) failures: Option<PathBuf>,
    pub(crate) dry_run: bool,
}

impl Plan {
    /// Settles the arguments.
    pub(crate) fn settle(args: Args) -> Result<Self> {
        let inputs = inputs(&args);
        let target = target(&args, &inputs)?;
        let model = ModelChoice::settle(&args)?;
        let is_npy = match &target {
            Target::File(_, format) | Target::Stdout(format) => *format == Format::Npy,
            Target::Tree(names) => names.format == Format::Npy,
            Target::Archive(names) => names.format == Format::Npy,
            Target::Nothing => false,
        };
        if args.dtype == Dtype::Bf16 && is_npy {
            bail!("--dtype bf16: .npy has no bfloat16\nhint: write .safetensors, or --dtype f16 or f32");
        }
        if args.json && matches!(target, Target::Stdout(_)) {
            bail!("--json and -o - both need standard output\nhint: write the tensor to a file");
        }
        let tokens = match (args.tensor, args.tokens) {
            (TensorKind::PixelValues, Some(_)) => {
                bail!("--tokens selects tokens, and pixel_values has none\nhint: leave --tokens out")
            }
            (_, tokens) => tokens.unwrap_or(Tokens::All),
        };
        let is_one = matches!(inputs, Inputs::One(_));
        let threads = args.threads.map_or_else(physical_cores, usize::from);
        Ok(Self {
            inputs,
            model,
            decode: DecodeOptions {
                alpha: args.alpha,
                exif_orientation: args.exif_orientation,
                max_pixels: args.max_pixels,
            },
            tensor: args.tensor,
            request: Request { tokens },
            target,
            dtype: args.dtype,
            overwrite: args.overwrite,
            threads,
            // One image keeps a few threads busy; more threads want more of them.
            batch: args.batch_size.map_or_else(|| threads.div_ceil(4).min(16), usize::from),
            json: args.json,
            quiet: args.quiet,
            // One image is done before a bar could be read.
            progress: match args.progress {
                ProgressMode::Auto if args.quiet || is_one => ProgressMode::Never,
                mode => mode,
            },
            max_failures: if args.fail_fast { Some(1) } else { args.max_failures },
            failures: args.failures,
            dry_run: args.dry_run,
        })
    }
}

fn inputs(args: &Args) -> Inputs {
    let separator = if args.null { Separator::Nul } else { Separator::Newline };
    match (&args.files_from, args.inputs.as_slice()) {
        (Some(list), _) => Inputs::List(list.clone(), separator),
        (None, [path]) if !path.is_dir() => Inputs::One(path.clone()),
        (None, paths) => Inputs::Paths(paths.to_vec()),
    }
}

fn target(args: &Args, inputs: &Inputs) -> Result<Target> {
    let target = target_of_output(args, inputs)?;
    if args.shard_size.is_some() && !matches!(target, Target::Archive(_)) {
        bail!("--shard-size splits an archive\nhint: give -o x.safetensors or -o x.npy and several images");
    }
    if args.keep_extension && !matches!(target, Target::Tree(_)) {
        bail!("--keep-extension names the files of a directory\nhint: give -o DIR/");
    }
    if args.overwrite && matches!(target, Target::Nothing | Target::Stdout(_)) {
        bail!("--overwrite replaces files, and none are written\nhint: give -o PATH");
    }
    Ok(target)
}

fn target_of_output(args: &Args, inputs: &Inputs) -> Result<Target> {
    let format = args.format;
    let Some(path) = args.output.clone() else {
        if format.is_some() {
            bail!(
                "--format says how to write, and nothing is written\nhint: add -o PATH, or -o - for standard output"
            );
        }
        return Ok(Target::Nothing);
    };
    let is_one = matches!(inputs, Inputs::One(_));
    if path.as_os_str() == "-" {
        if stdout().is_terminal() {
            bail!(
                "-o -: standard output is a terminal, and the tensor is binary\nhint: redirect it, or name a file"
            );
        }
        if format == Some(Format::Safetensors) && !is_one {
            bail!(
                "-o -: a stream of several images is .npy\nhint: leave --format out, or write -o x.safetensors"
            );
        }
        return Ok(Target::Stdout(format.unwrap_or(Format::Npy)));
    }
    if is_directory(&path) {
        return Ok(Target::Tree(tree(path, args)));
    }
    match (format, Format::of_path(&path)) {
        (Some(asked), Some(named)) if asked != named => {
            bail!("{}: --format contradicts the file's extension\nhint: leave --format out", path.display())
        }
        (_, Some(format)) if !is_one => {
            Ok(Target::Archive(ArchiveNames { path, format, shard_size: args.shard_size }))
        }
        (_, None) if !is_one => Ok(Target::Tree(tree(path, args))),
        (Some(format), _) | (None, Some(format)) => Ok(Target::File(path, format)),
        (None, None) => bail!(
            "{}: the extension names no format\nhint: end it in .npy or .safetensors, in / for a directory, or give --format",
            path.display()
        ),
    }
}

/// An existing directory, or one that a trailing slash announces.
fn is_directory(path: &Path) -> bool {
    let ends_in_slash =
        path.as_os_str().as_encoded_bytes().last().is_some_and(|&byte| std::path::is_separator(byte.into()));
    ends_in_slash || path.is_dir()
}

fn tree(root: PathBuf, args: &Args) -> TreeNames {
    let format = args.format.unwrap_or(Format::Npy);
    TreeNames { root, format, keep_extension: args.keep_extension, split: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settle(line: &str) -> Result<Plan> {
        let words = ["clip-features", "--random-weights"].into_iter().chain(line.split_whitespace());
        Plan::settle(Args::try_parse_from(words)?)
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn one_file_is_one_image_and_all_else_a_batch() {
        assert_eq!(settle("-").unwrap().inputs, Inputs::One("-".into()));
        assert_eq!(settle("a.png").unwrap().inputs, Inputs::One("a.png".into()));
        assert_eq!(settle("src").unwrap().inputs, Inputs::Paths(vec!["src".into()]));
        assert_eq!(settle("a b").unwrap().inputs, Inputs::Paths(vec!["a".into(), "b".into()]));
        assert_eq!(settle("--files-from - -0").unwrap().inputs, Inputs::List("-".into(), Separator::Nul));
    }

    #[test]
    fn the_target_follows_from_the_name_and_the_inputs() {
        let target = |line: &str| match settle(line).unwrap().target {
            Target::Nothing => "nothing".to_owned(),
            Target::File(_, format) => format!("file {format:?}"),
            Target::Tree(names) => format!("tree {:?}", names.format),
            Target::Archive(names) => format!("archive {:?}", names.format),
            Target::Stdout(format) => format!("stdout {format:?}"),
        };
        for (line, want) in [
            ("a.png", "nothing"),
            ("a.png -o x.npy", "file Npy"),
            ("a.png -o x.safetensors", "file Safetensors"),
            ("a.png -o x.bin --format npy", "file Npy"),
            ("a.png -o src", "tree Npy"),
            ("a.png -o new/ --format safetensors", "tree Safetensors"),
            ("a.png b.png -o new", "tree Npy"),
            ("a.png b.png -o x.npy", "archive Npy"),
            ("src -o x.safetensors", "archive Safetensors"),
            ("--files-from list -o x.safetensors --shard-size 2GB", "archive Safetensors"),
        ] {
            assert_eq!(target(line), want, "{line}");
        }
    }

    #[test]
    fn contradictions_are_refused_with_a_hint() {
        for (line, part) in [
            ("a.png -o x.bin", "names no format"),
            ("a.png -o x.npy --format safetensors", "contradicts"),
            ("a.png --format npy", "nothing is written"),
            ("a.png -o x.npy --dtype bf16", "no bfloat16"),
            ("src -o x/ --dtype bf16", "no bfloat16"),
            ("a.png --tensor pixel_values --tokens cls", "has none"),
            ("a.png -o x.npy --shard-size 1GB", "splits an archive"),
            ("src -o x.npy --keep-extension", "names the files of a directory"),
            ("src --overwrite", "none are written"),
        ] {
            let message = settle(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
            assert!(message.contains("\nhint: "), "{line}: {message}");
        }
    }
}
