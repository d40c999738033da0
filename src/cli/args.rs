//! The command line, as it is typed. What the options mean together is settled in [`super::settled`].

use std::path::PathBuf;

use clap::{Arg, ArgAction, Parser, ValueHint};
use pillow_exact::{Alpha, ExifOrientation};

use super::{
    choices,
    generate::Generated,
    manual::{AFTER_SHORT_HELP, after_long_help, long_about},
    progress::ProgressMode,
};
use crate::{
    device::{DeviceChoice, Kernels},
    extractor::{Layers, TensorKind, Tokens},
    figure::Drawing,
    hub::Revision,
    kernels::MatmulPrecision,
    output::{Dtype, Format, Part},
    processor::{Backend, Fit, ImageSize},
};

/// Every vision token of a CLIP tower: images in, last_hidden_state out
#[derive(Clone, Debug, Parser)]
#[command(version, long_about = long_about(), after_help = AFTER_SHORT_HELP, after_long_help = after_long_help())]
#[command(max_term_width = 100, disable_help_flag = true, disable_version_flag = true, args = [help(), version()])]
pub(super) struct Args {
    /// Images, directories, tars of images, or - for standard input
    ///
    /// A directory is searched with all below it. A tar is read as a stream of samples, and nothing is unpacked. On standard input an image or
    /// a tar is taken.
    #[arg(value_name = "INPUT", required_unless_present_any = ["files_from", "generate", "verify"])]
    pub(super) inputs: Vec<PathBuf>,

    /// Read the images' paths from a file, one a line; - is standard input
    ///
    /// The list is read as it is written, and each image is answered as it comes.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "inputs",
          help_heading = "Inputs")]
    pub(super) files_from: Option<PathBuf>,

    /// Paths in --files-from end in NUL bytes, as find -print0 writes them
    #[arg(short = '0', long, requires = "files_from", hide_short_help = true, help_heading = "Inputs")]
    pub(super) null: bool,

    /// Extensions of the image to take of a sample in a tar, the first that it has, such as jpg,png
    #[arg(long, value_name = "EXT", value_delimiter = ',', value_parser = parse_extension, hide_short_help = true,
          help_heading = "Inputs")]
    pub(super) image_key: Vec<String>,

    /// Do every Nth image, or tar, from the Ith on, counted from 0
    ///
    /// N processes, on as many machines, then share the work and write into one directory. --dry-run says which parts are complete.
    #[arg(long, value_name = "I/N", help_heading = "Inputs")]
    pub(super) part: Option<Part>,

    /// Checkpoint [default: openai/clip-vit-large-patch14]
    ///
    /// ORG/NAME is a model of the hub, which is downloaded once. DIR is a checkpoint as save_pretrained of transformers, open_clip or timm
    /// writes it, FILE a .safetensors file beside its configs.
    #[arg(short, long, value_name = "ID|DIR|FILE", help_heading = "Model")]
    pub(super) model: Option<PathBuf>,

    /// Branch, tag or full commit hash of a model of the hub [default: main]
    #[arg(long, value_name = "NAME", hide_short_help = true, help_heading = "Model")]
    pub(super) revision: Option<Revision>,

    /// Where models of the hub are kept, shared with Python [default: as huggingface_hub, ~/.cache/huggingface/hub]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true, help_heading = "Model")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Make no connection: a model of the hub must be in the cache
    #[arg(long, help_heading = "Model")]
    pub(super) offline: bool,

    /// Run on made-up weights, without a download
    ///
    /// The architecture is ViT-L/14, or that of --model's config.json. The features mean nothing, but shapes and speed are the real ones.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0",
          help_heading = "Model")]
    pub(super) random_weights: Option<u64>,

    /// Tensor to give; can be repeated
    ///
    /// The default is last_hidden_state, or hidden_states where --layer is given.
    #[arg(long, value_parser = choices::tensor(), value_name = "NAME", help_heading = "What")]
    pub(super) tensor: Vec<TensorKind>,

    /// Layers of hidden_states and attentions: -2, or -2,-1, or 0..=24
    ///
    /// They are counted as Python indexes the tuples of transformers; the default is all. Alone, --layer asks for the hidden state of that
    /// layer. Blocks above the last one are neither read from disk nor run.
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "What")]
    pub(super) layer: Option<Layers>,

    /// Tokens to keep [default: all]
    ///
    /// Of last_hidden_state and hidden_states.
    #[arg(long, value_parser = choices::tokens(), value_name = "WHICH", help_heading = "What")]
    pub(super) tokens: Option<Tokens>,

    /// Give the patches as [1, rows, columns, width]
    ///
    /// With --json, or in the metadata of .safetensors, grid_box says which pixels of the picture they show.
    #[arg(long, help_heading = "What")]
    pub(super) grid: bool,

    /// Pad tokens, attentions and pixel_values of SigLIP 2 NaFlex to --max-num-patches, as transformers gives them
    #[arg(long, conflicts_with = "grid", hide_short_help = true, help_heading = "What")]
    pub(super) pad: bool,

    /// Write a PNG picture in place of the tensors: norm, pca or ROW,COLUMN
    ///
    /// norm is the norm of each patch token, over the picture in grey; a patch by its row and column, such as 3,5, the cosine of each token to
    /// that one; pca the first three principal components of the tokens as red, green and blue. After :bare, as in norm:bare, the picture stands
    /// alone, without margin, bar, caption and the frame of the patch that was named. Several images take -o DIR/.
    #[arg(long, value_name = "WHAT", conflicts_with = "format", help_heading = "What")]
    pub(super) draw: Option<Drawing>,

    /// Whose pixel_values to give
    ///
    /// They are the same bit for bit. The default is pil, or torchvision for DINOv3, which has no other.
    #[arg(long, value_parser = choices::processor(), value_name = "WHICH", help_heading = "Image")]
    pub(super) processor: Option<Backend>,

    /// Input shape
    ///
    /// How a picture comes into the shape of the tower's input.
    #[arg(long, value_parser = choices::fit(), default_value = "auto", value_name = "HOW", help_heading = "Image")]
    pub(super) fit: Fit,

    /// Size of the input in pixels, if not the model's own
    ///
    /// An edge, or rows x columns such as 224x448. Position embeddings are interpolated as by interpolate_pos_encoding=True.
    #[arg(long, value_name = "N|HxW", help_heading = "Image")]
    pub(super) image_size: Option<ImageSize>,

    /// The most patches that SigLIP 2 NaFlex cuts a picture into, if not the model's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535), hide_short_help = true,
          help_heading = "Image")]
    pub(super) max_num_patches: Option<u32>,

    /// Give the picture as tiles too, where the model's processor cuts some: [tiles, tokens, width], the whole picture first
    #[arg(long, hide_short_help = true, help_heading = "Image")]
    pub(super) tiles: bool,

    /// What becomes of transparency
    #[arg(long, value_parser = choices::alpha(), default_value = "white", value_name = "HOW", hide_short_help = true,
          help_heading = "Image")]
    pub(super) alpha: Alpha,

    /// What becomes of a photograph that lies on its side by its EXIF data
    #[arg(long, value_parser = choices::exif_orientation(), default_value = "ignore", value_name = "HOW", hide_short_help = true,
          help_heading = "Image")]
    pub(super) exif_orientation: ExifOrientation,

    /// Refuse images of more pixels; the default is Pillow's own limit
    #[arg(long, value_name = "N", default_value_t = 178_956_970, value_parser = clap::value_parser!(u64).range(1..),
          hide_short_help = true, help_heading = "Image")]
    pub(super) max_pixels: u64,

    /// Where the tower is computed: auto, cpu, cuda, cuda:N or metal
    ///
    /// auto takes the first GPU that this build and this machine have, else the CPU.
    #[arg(long, default_value = "auto", value_name = "WHERE", help_heading = "Compute")]
    pub(super) device: DeviceChoice,

    /// Whose operations the tower is made of [default: own on the CPU, candle on a GPU]
    #[arg(long, value_parser = choices::kernels(), value_name = "WHOSE", hide_short_help = true, help_heading = "Compute")]
    pub(super) kernels: Option<Kernels>,

    /// Exactness
    ///
    /// How exact matrix products are, in PyTorch's words. Lower is faster on GPUs and on CPUs that multiply bfloat16 (AMX, or AMD from Zen 4); elsewhere it
    /// is the same as highest.
    #[arg(long, value_parser = choices::matmul_precision(), default_value = "highest", value_name = "HOW", help_heading = "Compute")]
    pub(super) matmul_precision: MatmulPrecision,

    /// Threads to compute with [default: all physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Compute")]
    pub(super) threads: Option<u16>,

    /// Images that the tower takes at once; the features do not depend on it [default: by the threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), hide_short_help = true,
          help_heading = "Compute")]
    pub(super) batch_size: Option<u16>,

    /// Where to write: DIR/, x.npy, x.safetensors, x.tar, or - to stdout
    ///
    /// A directory gets a file for each image. A .npy of several images is one stack, a .safetensors holds a tensor for each, a .tar is one that
    /// WebDataset reads. What is complete there is skipped, and what is new is added.
    #[arg(short, long, value_name = "PATH", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,

    /// Format to write [default: by the extension; in a directory and on standard output npy, or tar where tars come in]
    #[arg(long, value_parser = choices::format(), value_name = "FORMAT", hide_short_help = true, help_heading = "Output")]
    pub(super) format: Option<Format>,

    /// Type to store
    ///
    /// The computation is float32 in any case.
    #[arg(long, value_parser = choices::dtype(), default_value = "f32", value_name = "TYPE", help_heading = "Output")]
    pub(super) dtype: Dtype,

    /// Extensions of the members of a sample to carry over from tar to tar, such as txt,json
    #[arg(long, value_name = "EXT", value_delimiter = ',', value_parser = parse_extension, hide_short_help = true,
          help_heading = "Output")]
    pub(super) keep: Vec<String>,

    /// Split an archive into files of at most this size, such as 2GB
    ///
    /// KB, MB and GB are thousands, KiB, MiB and GiB are by 1024. The files are x-00000.safetensors and so on; a set that grows gets further
    /// ones.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Output")]
    pub(super) shard_size: Option<u64>,

    /// Name outputs in a directory cat.jpg.npy rather than cat.npy
    #[arg(long, hide_short_help = true, help_heading = "Output")]
    pub(super) keep_extension: bool,

    /// Start over where outputs are, rather than skip what is complete
    #[arg(long, help_heading = "Output")]
    pub(super) overwrite: bool,

    /// Make the features of images that have changed again, in a directory; without it they stay, and a warning counts them
    #[arg(long, conflicts_with = "overwrite", hide_short_help = true, help_heading = "Output")]
    pub(super) update: bool,

    /// Print a JSON object a line for each image
    ///
    /// Also beside -o. After several images, a last line {"summary":{...}} says how many were done, skipped and failed.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    /// Print no warnings, no progress and no summary on standard error
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,

    /// Progress on standard error: a bar on a terminal, else a line every 30 seconds
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_short_help = true,
        help_heading = "Output"
    )]
    pub(super) progress: ProgressMode,

    /// Stop at the first image that fails
    #[arg(long, conflicts_with = "max_failures", hide_short_help = true, help_heading = "Batch")]
    pub(super) fail_fast: bool,

    /// Stop when this many images have failed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Batch")]
    pub(super) max_failures: Option<u64>,

    /// Count images that fail by their own bytes as done
    ///
    /// That is: no picture, damaged, too large, not supported. They are not tried again before their files change, and the exit code is
    /// 0.
    #[arg(long, help_heading = "Batch")]
    pub(super) accept_failures: bool,

    /// Try those again that have failed so before
    #[arg(long, requires = "accept_failures", help_heading = "Batch")]
    pub(super) retry_failures: bool,

    /// Also write each failure to this file, a JSON object a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Batch")]
    pub(super) failures: Option<PathBuf>,

    /// Print what would be done, and the disk space it needs
    #[arg(long, help_heading = "Batch")]
    pub(super) dry_run: bool,

    /// Read an output again and compare it with its checksums
    ///
    /// The path is what -o was given, or one of its files. Each image that differs is named, and the exit code is 1.
    #[arg(long, value_name = "PATH", help_heading = "Other")]
    pub(super) verify: Option<PathBuf>,

    /// Print a completion script for a shell, or the man page
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        exclusive = true,
        hide_short_help = true,
        help_heading = "Other"
    )]
    pub(super) generate: Option<Generated>,
}

/// The parser's own, which would stand under a heading of its own before all others.
fn help() -> Arg {
    let help = "Print this; --help has all options, exit codes and the environment";
    let long = "Print help: -h a screenful, --help all of it";
    let help = Arg::new("help").short('h').long("help").help(help).long_help(long);
    help.action(ArgAction::Help).help_heading("Other").display_order(1000)
}

fn version() -> Arg {
    let version = Arg::new("version").short('V').long("version").help("Print the version");
    version.action(ArgAction::Version).help_heading("Other").display_order(1001)
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
