//! The command line, as it is typed. What the options mean together is settled in [`super::settled`].

use std::path::PathBuf;

use clap::{Parser, ValueHint};
use pillow_exact::{Alpha, ExifOrientation};

use super::{
    choices::choice,
    generate::Generated,
    manual::{DESCRIPTION, after_help},
    progress::ProgressMode,
};
use crate::{
    extractor::{Layers, TensorKind, Tokens},
    figure::Drawing,
    hub::Revision,
    kernels::MatmulPrecision,
    output::{Dtype, Format, Part},
    processor::{Backend, Fit, ImageSize},
};

/// Every vision token of a CLIP tower: images in, last_hidden_state out
#[derive(Clone, Debug, Parser)]
#[command(version, long_about = DESCRIPTION, after_help = after_help(), max_term_width = 100)]
pub(super) struct Args {
    /// Image files, tars of them, directories (searched recursively), or - for an image's or a tar's bytes on standard input
    #[arg(value_name = "INPUT", required_unless_present_any = ["files_from", "generate", "verify"])]
    pub(super) inputs: Vec<PathBuf>,

    /// Read the images' paths from a file, one a line, or from standard input with -
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "inputs",
          help_heading = "Inputs")]
    pub(super) files_from: Option<PathBuf>,

    /// Paths in --files-from end in NUL bytes, as find -print0 writes them
    #[arg(short = '0', long, requires = "files_from", help_heading = "Inputs")]
    pub(super) null: bool,

    /// Extensions of the image to take of a sample in a tar, the first that it has, such as jpg,png
    #[arg(long, value_name = "EXT", value_delimiter = ',', value_parser = parse_extension, help_heading = "Inputs")]
    pub(super) image_key: Vec<String>,

    /// Do one of N parts of the work: every Nth image, or tar, from the Ith on, counted from 0
    #[arg(long, value_name = "I/N", help_heading = "Inputs")]
    pub(super) part: Option<Part>,

    /// Model of the hub by its name ORG/NAME, checkpoint directory as transformers saves it, or a .safetensors file
    /// beside its configs [default: openai/clip-vit-large-patch14]
    #[arg(short, long, value_name = "ID|DIR|FILE", help_heading = "Model")]
    pub(super) model: Option<PathBuf>,

    /// Branch, tag or full commit hash of a model of the hub [default: main]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(super) revision: Option<Revision>,

    /// Where models of the hub are kept, shared with Python [default: as huggingface_hub, ~/.cache/huggingface/hub]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Model")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Make no connection: a model of the hub must be in the cache
    #[arg(long, help_heading = "Model")]
    pub(super) offline: bool,

    /// Run on made-up weights: ViT-L/14, or the architecture of --model's config.json
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0",
          help_heading = "Model")]
    pub(super) random_weights: Option<u64>,

    /// Tensor to give; can be repeated [default: last_hidden_state, or with --layer hidden_states]
    #[arg(long, value_parser = choice::<TensorKind>(), value_name = "NAME", help_heading = "What")]
    pub(super) tensor: Vec<TensorKind>,

    /// Layers of hidden_states and attentions, as Python indexes transformers' tuples: -2, or -2,-1, or 0..=24
    /// [default: all]. Blocks above are neither read nor run
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "What")]
    pub(super) layer: Option<Layers>,

    /// Tokens to keep of last_hidden_state and hidden_states [default: all]
    #[arg(long, value_parser = choice::<Tokens>(), value_name = "WHICH", help_heading = "What")]
    pub(super) tokens: Option<Tokens>,

    /// Give the patches as [1, rows, columns, width] rather than as a list of tokens
    #[arg(long, help_heading = "What")]
    pub(super) grid: bool,

    /// Pad tokens, attentions and pixel_values of SigLIP 2 NaFlex to --max-num-patches, as transformers gives them
    #[arg(long, conflicts_with = "grid", help_heading = "What")]
    pub(super) pad: bool,

    /// Write a picture of the patch tokens in place of them, as a PNG file, an image each into a directory, or with -o - to standard
    /// output: norm, the norm of each; a patch by its row and column such as 3,5, the cosine of each to that one; or pca, their first three
    /// principal components as red, green and blue
    #[arg(long, value_name = "norm|ROW,COLUMN|pca", conflicts_with = "format", help_heading = "What")]
    pub(super) draw: Option<Drawing>,

    /// Image processor of transformers 5 whose pixel_values to give, bit for bit [default: pil; torchvision for DINOv3, which has
    /// no other]
    #[arg(long, value_parser = choice::<Backend>(), value_name = "WHICH", help_heading = "Image")]
    pub(super) processor: Option<Backend>,

    /// How a picture comes into the shape of the tower's input
    #[arg(long, value_parser = choice::<Fit>(), default_value = "auto", value_name = "HOW", help_heading = "Image")]
    pub(super) fit: Fit,

    /// Size of the tower's input in pixels, if not the model's own: an edge, or rows x columns such as 224x448; position
    /// embeddings are interpolated
    #[arg(long, value_name = "N|HxW", help_heading = "Image")]
    pub(super) image_size: Option<ImageSize>,

    /// The most patches that SigLIP 2 NaFlex cuts a picture into, if not the model's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535), help_heading = "Image")]
    pub(super) max_num_patches: Option<u32>,

    /// Give the picture as tiles too, where the model's processor cuts some: [tiles, tokens, width], the whole picture first
    #[arg(long, help_heading = "Image")]
    pub(super) tiles: bool,

    /// Transparency: composite over white as transformers 5 does, or drop it as transformers 4 and LLaVA do
    #[arg(long, value_parser = choice::<Alpha>(), default_value = "white", value_name = "HOW", help_heading = "Image")]
    pub(super) alpha: Alpha,

    /// EXIF orientation: ignore it as PIL.Image.open does, or apply it as transformers' load_image does
    #[arg(long, value_parser = choice::<ExifOrientation>(), default_value = "ignore", value_name = "HOW", help_heading = "Image")]
    pub(super) exif_orientation: ExifOrientation,

    /// Refuse images of more pixels; the default is Pillow's own limit
    #[arg(long, value_name = "N", default_value_t = 178_956_970, value_parser = clap::value_parser!(u64).range(1..),
          help_heading = "Image")]
    pub(super) max_pixels: u64,

    /// How exact matrix products are; lower is faster on CPUs with bfloat16 tiles (AMX), elsewhere the same
    #[arg(long, value_parser = choice::<MatmulPrecision>(), default_value = "highest", value_name = "HOW", help_heading = "Compute")]
    pub(super) matmul_precision: MatmulPrecision,

    /// Threads to compute with [default: all physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Compute")]
    pub(super) threads: Option<u16>,

    /// Images that the tower takes at once; the features do not depend on it [default: by the threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Compute")]
    pub(super) batch_size: Option<u16>,

    /// Where to write: a directory, an archive .npy, .safetensors or .tar, or - for standard output
    #[arg(short, long, value_name = "PATH", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,

    /// Format to write [default: by the extension; in a directory and on standard output npy, or tar where tars come in]
    #[arg(long, value_parser = choice::<Format>(), value_name = "FORMAT", help_heading = "Output")]
    pub(super) format: Option<Format>,

    /// Element type to store; the computation is float32 in any case
    #[arg(long, value_parser = choice::<Dtype>(), default_value = "f32", value_name = "TYPE", help_heading = "Output")]
    pub(super) dtype: Dtype,

    /// Extensions of the members of a sample to carry over from tar to tar, such as txt,json
    #[arg(long, value_name = "EXT", value_delimiter = ',', value_parser = parse_extension, help_heading = "Output")]
    pub(super) keep: Vec<String>,

    /// Split an archive into files of at most this size, such as 2GB or 500MiB
    #[arg(long, value_name = "BYTES", value_parser = parse_size, help_heading = "Output")]
    pub(super) shard_size: Option<u64>,

    /// Name outputs in a directory cat.jpg.npy rather than cat.npy
    #[arg(long, help_heading = "Output")]
    pub(super) keep_extension: bool,

    /// Start anew where outputs are, rather than skip what is complete
    #[arg(long, help_heading = "Output")]
    pub(super) overwrite: bool,

    /// Make the features of images that have changed again, in a directory; without it they stay, and are told of
    #[arg(long, conflicts_with = "overwrite", help_heading = "Output")]
    pub(super) update: bool,

    /// Report each image as a JSON object on a line, also beside -o; after several, a last line {"summary":{...}}
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    /// Print no warnings, no progress and no summary on standard error
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,

    /// Progress on standard error: a bar on a terminal, else a line every 30 seconds
    #[arg(long, value_parser = choice::<ProgressMode>(), default_value = "auto", value_name = "WHEN", help_heading = "Output")]
    pub(super) progress: ProgressMode,

    /// Stop at the first image that fails
    #[arg(long, conflicts_with = "max_failures", help_heading = "Batch")]
    pub(super) fail_fast: bool,

    /// Stop when this many images have failed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Batch")]
    pub(super) max_failures: Option<u64>,

    /// Images that fail by their own bytes (no picture, damaged, too large, not supported) count as done: they are not tried again before
    /// their files change, and the exit code is 0
    #[arg(long, help_heading = "Batch")]
    pub(super) accept_failures: bool,

    /// Try those again that have failed so before
    #[arg(long, requires = "accept_failures", help_heading = "Batch")]
    pub(super) retry_failures: bool,

    /// Also write each failure to this file, as a JSON object on a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Batch")]
    pub(super) failures: Option<PathBuf>,

    /// Print what would be done, and the disk space it needs, and do nothing
    #[arg(long, help_heading = "Batch")]
    pub(super) dry_run: bool,

    /// Read what was written and compare it with the checksums of its manifest: a path that -o was given, or one of its files
    #[arg(long, value_name = "PATH")]
    pub(super) verify: Option<PathBuf>,

    /// Print a completion script for a shell, or the man page, and do nothing else
    #[arg(long, value_parser = choice::<Generated>(), value_name = "WHAT", exclusive = true)]
    pub(super) generate: Option<Generated>,
}

/// What follows the key of a sample: `jpg`, or `seg.png`.
fn parse_extension(text: &str) -> Result<String, String> {
    let extension = text.trim().trim_start_matches('.').to_ascii_lowercase();
    let is_one = !extension.is_empty() && !extension.contains('/');
    if is_one { Ok(extension) } else { Err("expected an extension, such as jpg".into()) }
}

/// A size in bytes: digits, and a unit by thousands (KB, MB, GB, TB) or by 1024 (KiB, MiB, GiB, TiB).
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err("expected a number with a unit such as MB, GB, MiB or GiB".into()),
    };
    let number: f64 = digits.parse().map_err(|_| "expected a number, such as 2GB".to_owned())?;
    let bytes = number * unit as f64;
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err("expected a positive size".into()) }
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("500", 500), ("2GB", 2_000_000_000), ("1.5 MiB", 0), ("1.5MiB", 1_572_864), ("1k", 1000)]
        {
            assert_eq!(parse_size(text).unwrap_or(0), bytes, "{text}");
        }
        for text in ["", "GB", "-1", "0", "2XB", "nan", "inf"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
