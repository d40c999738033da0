//! Raw arguments → a plan: every rule that spans several options, once.

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
};

use anyhow::{Result, bail};
use clip_features::{
    extractor::{TensorKind, Tokens},
    image::DecodeOptions,
    input::Source,
    model::ModelSpec,
    output::{Dtype, Format},
};

use super::Args;

/// Where the tensor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nowhere: the shape is printed.
    Nothing,
    /// Into a file.
    File(PathBuf, Format),
    /// To standard output.
    Stdout(Format),
}

impl Target {
    /// The file that is written, for a report.
    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Self::File(path, _) => Some(path.display().to_string()),
            Self::Nothing | Self::Stdout(_) => None,
        }
    }
}

/// What a run will do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) model: ModelSpec,
    pub(crate) decode: DecodeOptions,
    pub(crate) tensor: TensorKind,
    pub(crate) tokens: Tokens,
    pub(crate) target: Target,
    pub(crate) dtype: Dtype,
    pub(crate) threads: Option<usize>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Plan {
    /// Settles the arguments.
    pub(crate) fn settle(args: Args) -> Result<Self> {
        let source = if args.input.as_os_str() == "-" { Source::Stdin } else { Source::File(args.input) };
        let model = match (args.model, args.random_weights) {
            (directory, Some(seed)) => ModelSpec::Random { seed, directory },
            (Some(path), None) => ModelSpec::Local(path),
            (None, None) => bail!(
                "no model given\nhint: --model DIR for a checkpoint on disk, --random-weights to try the tool without one"
            ),
        };
        let target = target(args.output, args.format)?;
        if args.dtype == Dtype::Bf16
            && matches!(target, Target::File(_, Format::Npy) | Target::Stdout(Format::Npy))
        {
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
        Ok(Self {
            source,
            model,
            decode: DecodeOptions {
                alpha: args.alpha,
                exif_orientation: args.exif_orientation,
                max_pixels: args.max_pixels,
            },
            tensor: args.tensor,
            tokens,
            target,
            dtype: args.dtype,
            threads: args.threads.map(usize::from),
            json: args.json,
            quiet: args.quiet,
        })
    }
}

fn target(output: Option<PathBuf>, format: Option<Format>) -> Result<Target> {
    let Some(path) = output else {
        if format.is_some() {
            bail!(
                "--format says how to write, and nothing is written\nhint: add -o PATH, or -o - for standard output"
            );
        }
        return Ok(Target::Nothing);
    };
    if path.as_os_str() == "-" {
        if stdout().is_terminal() {
            bail!(
                "-o -: standard output is a terminal, and the tensor is binary\nhint: redirect it, or name a file"
            );
        }
        return Ok(Target::Stdout(format.unwrap_or(Format::Npy)));
    }
    match (format, Format::of_path(&path)) {
        (Some(asked), Some(named)) if asked != named => {
            bail!("{}: --format contradicts the file's extension\nhint: leave --format out", path.display())
        }
        (Some(format), _) | (None, Some(format)) => Ok(Target::File(path, format)),
        (None, None) => bail!(
            "{}: the extension names no format\nhint: end it in .npy or .safetensors, or give --format",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settle(line: &str) -> Result<Plan> {
        let words = ["clip-features"].into_iter().chain(line.split(' '));
        Plan::settle(Args::try_parse_from(words)?)
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_dash_is_standard_input_and_a_path_is_a_file() {
        assert_eq!(settle("--random-weights -").unwrap().source, Source::Stdin);
        assert_eq!(settle("--random-weights ./-").unwrap().source, Source::File("./-".into()));
    }

    #[test]
    fn random_weights_take_a_seed_only_with_an_equals_sign() {
        let plan = settle("--random-weights a.png").unwrap();
        assert!(matches!(plan.model, ModelSpec::Random { seed: 0, directory: None }));
        let plan = settle("--random-weights=7 -m dir a.png").unwrap();
        assert!(matches!(plan.model, ModelSpec::Random { seed: 7, directory: Some(_) }));
    }

    #[test]
    fn the_extension_names_the_format_unless_told() {
        for (line, format) in [
            ("--random-weights a.png -o x.npy", Format::Npy),
            ("--random-weights a.png -o x.safetensors", Format::Safetensors),
            ("--random-weights a.png -o x.bin --format npy", Format::Npy),
        ] {
            assert!(matches!(settle(line).unwrap().target, Target::File(_, found) if found == format));
        }
    }

    #[test]
    fn contradictions_are_refused_with_a_hint() {
        for (line, part) in [
            ("a.png", "no model given"),
            ("--random-weights a.png -o x.bin", "names no format"),
            ("--random-weights a.png -o x.npy --format safetensors", "contradicts"),
            ("--random-weights a.png --format npy", "nothing is written"),
            ("--random-weights a.png -o x.npy --dtype bf16", "no bfloat16"),
            ("--random-weights a.png --tensor pixel_values --tokens cls", "has none"),
            ("--random-weights a.png --json -o x --format npy -o -", "cannot be used multiple"),
        ] {
            let message = settle(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
