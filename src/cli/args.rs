//! The command line, as it is typed. What the options mean together is settled in [`super::plan`].

use std::path::PathBuf;

use clap::Parser;
use clip_features::{
    extractor::{TensorKind, Tokens},
    image::{Alpha, ExifOrientation},
    output::{Dtype, Format},
};

const EXAMPLES: &str = "\
Examples:
  clip-features --model DIR photo.jpg                   print the shape of the features
  clip-features --model DIR photo.jpg -o photo.npy      write them, [1, 257, 1024] for ViT-L/14
  cat photo.jpg | clip-features --model DIR - -o -      bytes in, .npy out
  clip-features --random-weights photo.jpg              the full ViT-L/14 without a download

Exit codes:
  0  done
  1  the image failed
  2  wrong usage, or the model or the output could not be opened";

/// Every vision token of a CLIP tower: image in, last_hidden_state out
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Image file, or - to read an image's bytes from standard input
    pub(crate) input: PathBuf,

    /// Checkpoint directory as transformers saves it, or a .safetensors file beside its configs
    #[arg(short, long, value_name = "DIR|FILE", help_heading = "Model")]
    pub(crate) model: Option<PathBuf>,

    /// Run on made-up weights: ViT-L/14, or the architecture of --model's config.json
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0",
          help_heading = "Model")]
    pub(crate) random_weights: Option<u64>,

    /// Tensor to give
    #[arg(long, value_enum, default_value = "last_hidden_state", value_name = "NAME", help_heading = "What")]
    pub(crate) tensor: TensorKind,

    /// Tokens to keep of a token tensor [default: all]
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "What")]
    pub(crate) tokens: Option<Tokens>,

    /// Transparency: composite over white as transformers 5 does, or drop it as transformers 4 and LLaVA do
    #[arg(long, value_enum, default_value = "white", value_name = "HOW", help_heading = "Image")]
    pub(crate) alpha: Alpha,

    /// EXIF orientation: ignore it as PIL.Image.open does, or apply it as transformers' load_image does
    #[arg(long, value_enum, default_value = "ignore", value_name = "HOW", help_heading = "Image")]
    pub(crate) exif_orientation: ExifOrientation,

    /// Refuse images of more pixels; the default is Pillow's own limit
    #[arg(long, value_name = "N", default_value_t = 178_956_970, help_heading = "Image")]
    pub(crate) max_pixels: u64,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Compute")]
    pub(crate) threads: Option<u16>,

    /// Write the tensor to a .npy or .safetensors file, or to standard output with -
    #[arg(short, long, value_name = "PATH", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// Format to write [default: by the file's extension; npy on standard output]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Option<Format>,

    /// Element type to store; the computation is float32 in any case
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE", help_heading = "Output")]
    pub(crate) dtype: Dtype,

    /// Report as a JSON object on one line, also beside -o FILE
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Print no warnings
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
}
