//! The library's choices as values of options.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pillow_exact::{Alpha, ExifOrientation};

use super::{generate::Generated, progress::ProgressMode};
use crate::{
    device::Kernels,
    extractor::{TensorKind, Tokens},
    kernels::MatmulPrecision,
    output::{Dtype, Format},
    processor::{Backend, Fit},
};

/// A choice among a few, each with a name.
pub(super) trait Choice: Copy + Send + Sync + 'static {
    /// All of them, in the order in which help shows them.
    const CHOICES: &'static [Self];

    /// What is typed.
    fn name(self) -> &'static str;

    /// What help says of it; nothing where the name says enough.
    fn help(self) -> &'static str;
}

/// Reads a choice by its name.
pub(super) fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    let value = |choice: &T| match choice.help() {
        "" => PossibleValue::new(choice.name()),
        help => PossibleValue::new(choice.name()).help(help),
    };
    let names = PossibleValuesParser::new(T::CHOICES.iter().map(value));
    names.map(|name| *T::CHOICES.iter().find(|choice| choice.name() == name).expect("a possible value"))
}

impl Choice for TensorKind {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::LastHiddenState => "The tower's output, every token",
            Self::HiddenStates => {
                "What enters the first block and leaves each: N + 1 tensors, or those of --layer"
            }
            Self::Attentions => {
                "Each block's attention after the softmax, [1, heads, tokens, tokens]: N tensors, or those of --layer"
            }
            Self::PoolerOutput => "The token that stands for the image, [1, width]",
            Self::ImageEmbeds => "The pooled token in CLIP's space of images and texts, not normalized",
            Self::ImageFeatures => {
                "What the language model of LLaVA and its like reads: [1, tokens, width], after the projector"
            }
            Self::PixelValues => {
                "The tower's input, [1, 3, 224, 224], or of NaFlex [1, patches, 768]; loads no weights"
            }
        }
    }
}

impl Choice for Tokens {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::All => {
                "The class token and the registers where the tower has them, then the patches row by row"
            }
            Self::Patch => "The patches alone, as LLaVA's `patch`",
            Self::Cls => "The class token alone",
        }
    }
}

impl Choice for MatmulPrecision {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Highest => "as exact as float32: at most 1e-6 from float64",
            Self::High => "two bfloat16 for each number: at most 2e-5",
            Self::Medium => {
                "numbers rounded to bfloat16 and summed in float32, as PyTorch's autocast: about 1e-2"
            }
        }
    }
}

impl Choice for Kernels {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Own => "The fast ones of a CPU, with which an image's bytes do not depend on its batch",
            Self::Candle => "candle's, which GPUs run: on a CPU slow, and a second opinion on ours",
        }
    }
}

impl Choice for Backend {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Pil => {
                "CLIPImageProcessorPil, SiglipImageProcessorPil, BitImageProcessorPil: what towers were trained with"
            }
            Self::Torchvision => {
                "CLIPImageProcessor, SiglipImageProcessor, BitImageProcessor, DINOv3ViTImageProcessor: what transformers 5 runs by default"
            }
            Self::Transforms => {
                "torchvision's transforms on Pillow's pictures: goes with checkpoints of open_clip and timm"
            }
        }
    }
}

impl Choice for Fit {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Auto => "The config's own way: a crop for CLIP and DINOv2, a squash for SigLIP and DINOv3",
            Self::Pad => "Centred on a square of the mean colour, before all else, as LLaVA does",
            Self::Squash => "Straight to the square, whatever the aspect",
            Self::Keep => {
                "In its own shape, the shorter edge as long as the square's or --image-size N, each edge rounded down to \
                 whole patches; position embeddings are interpolated"
            }
        }
    }
}

impl Choice for Alpha {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::White => "The picture is composited over white, as transformers 5 does",
            Self::Drop => {
                "The alpha band is dropped, as `.convert(\"RGB\")` does in transformers 4 and LLaVA"
            }
        }
    }
}

impl Choice for ExifOrientation {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Ignore => "Pixels stay as they are stored, as `PIL.Image.open` gives them",
            Self::Apply => "The picture is turned upright, as `transformers.image_utils.load_image` does",
        }
    }
}

impl Choice for Format {
    const CHOICES: &'static [Self] = &Self::OF_TENSORS;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Npy => "NumPy's `.npy`, one array",
            Self::Safetensors => "`.safetensors`, named tensors and metadata",
            Self::Tar => "A tar of samples as WebDataset reads it, an `.npy` for each tensor",
            Self::Png => "",
        }
    }
}

impl Choice for Dtype {
    const CHOICES: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn help(self) -> &'static str {
        match self {
            Self::F32 => "IEEE binary32",
            Self::F16 => "IEEE binary16; values beyond ±65504 become infinite",
            Self::Bf16 => "bfloat16, which only safetensors can name",
        }
    }
}

impl Choice for Generated {
    const CHOICES: &'static [Self] =
        &[Self::CompleteBash, Self::CompleteZsh, Self::CompleteFish, Self::CompletePowershell, Self::Man];

    fn name(self) -> &'static str {
        match self {
            Self::CompleteBash => "complete-bash",
            Self::CompleteZsh => "complete-zsh",
            Self::CompleteFish => "complete-fish",
            Self::CompletePowershell => "complete-powershell",
            Self::Man => "man",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::CompleteBash => "For ~/.local/share/bash-completion/completions/clip-features",
            Self::CompleteZsh => "For a file _clip-features in a directory that fpath names",
            Self::CompleteFish => "For ~/.config/fish/completions/clip-features.fish",
            Self::CompletePowershell => "For the file that PROFILE names",
            Self::Man => "For ~/.local/share/man/man1/clip-features.1",
        }
    }
}

impl Choice for ProgressMode {
    const CHOICES: &'static [Self] = &[Self::Auto, Self::Always, Self::Never, Self::Json];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
            Self::Json => "json",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Always => "Also a line at the start where standard error is no terminal",
            Self::Json => {
                "For a program: all of standard error is JSON objects, one a line, under what they are: download, progress (first \
                 at the start, then once a second), warning, error, interrupted, and last, once images are looked at, summary; \
                 with --quiet errors alone"
            }
            Self::Auto | Self::Never => "",
        }
    }
}
