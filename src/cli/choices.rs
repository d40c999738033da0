//! The library's choices as values of options.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pillow_exact::{Alpha, ExifOrientation};

use crate::{
    device::Kernels,
    extractor::{TensorKind, Tokens},
    kernels::MatmulPrecision,
    output::{Dtype, Format},
    processor::{Backend, Fit},
};

/// Reads one of a few by its name. Help shows them in this order, and says of each what `help` does.
fn choice<T: Copy + Send + Sync>(
    choices: &'static [T],
    name: fn(T) -> &'static str,
    help: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let value = |&choice: &T| PossibleValue::new(name(choice)).help(help(choice));
    let find = move |typed: String| choices.iter().copied().find(|&choice| name(choice) == typed);
    PossibleValuesParser::new(choices.iter().map(value))
        .map(move |typed| find(typed).expect("a possible value"))
}

pub(super) fn tensor() -> impl TypedValueParser<Value = TensorKind> {
    choice(&TensorKind::ALL, TensorKind::name, |one| match one {
        TensorKind::LastHiddenState => "The tower's output, every token",
        TensorKind::HiddenStates => {
            "What enters the first block and leaves each: N + 1 tensors, or those of --layer"
        }
        TensorKind::Attentions => {
            "Each block's attention after the softmax, [1, heads, tokens, tokens]: N tensors, or those of --layer"
        }
        TensorKind::PoolerOutput => "The token that stands for the image, [1, width]",
        TensorKind::ImageEmbeds => "The pooled token in CLIP's space of images and texts, not normalized",
        TensorKind::ImageFeatures => {
            "What the language model of LLaVA and its like reads: [1, tokens, width], after the projector"
        }
        TensorKind::PixelValues => {
            "The tower's input, [1, 3, 224, 224], or of NaFlex [1, patches, 768]; loads no weights"
        }
    })
}

pub(super) fn tokens() -> impl TypedValueParser<Value = Tokens> {
    choice(&Tokens::ALL, Tokens::name, |one| match one {
        Tokens::All => {
            "The class token and the registers where the tower has them, then the patches row by row"
        }
        Tokens::Patch => "The patches alone, as LLaVA's `patch`",
        Tokens::Cls => "The class token alone",
    })
}

pub(super) fn matmul_precision() -> impl TypedValueParser<Value = MatmulPrecision> {
    choice(&MatmulPrecision::ALL, MatmulPrecision::name, |one| match one {
        MatmulPrecision::Highest => "as exact as float32: at most 1e-6 from float64",
        MatmulPrecision::High => "two bfloat16 for each number: at most 2e-5",
        MatmulPrecision::Medium => {
            "numbers rounded to bfloat16 and summed in float32, as PyTorch's autocast: about 1e-2"
        }
    })
}

pub(super) fn kernels() -> impl TypedValueParser<Value = Kernels> {
    choice(&Kernels::ALL, Kernels::name, |one| match one {
        Kernels::Own => "The fast ones of a CPU, with which an image's bytes do not depend on its batch",
        Kernels::Candle => "candle's, which GPUs run: on a CPU slow, and a second opinion on ours",
    })
}

pub(super) fn processor() -> impl TypedValueParser<Value = Backend> {
    choice(&Backend::ALL, Backend::name, |one| match one {
        Backend::Pil => {
            "CLIPImageProcessorPil, SiglipImageProcessorPil, BitImageProcessorPil: what towers were trained with"
        }
        Backend::Torchvision => {
            "CLIPImageProcessor, SiglipImageProcessor, BitImageProcessor, DINOv3ViTImageProcessor: what transformers 5 runs by default"
        }
        Backend::Transforms => {
            "torchvision's transforms on Pillow's pictures: goes with checkpoints of open_clip and timm"
        }
    })
}

pub(super) fn fit() -> impl TypedValueParser<Value = Fit> {
    choice(&Fit::ALL, Fit::name, |one| match one {
        Fit::Auto => "The config's own way: a crop for CLIP and DINOv2, a squash for SigLIP and DINOv3",
        Fit::Pad => "Centred on a square of the mean colour, before all else, as LLaVA does",
        Fit::Squash => "Straight to the square, whatever the aspect",
        Fit::Keep => {
            "In its own shape, the shorter edge as long as the square's or --image-size N, each edge rounded down to \
                 whole patches; position embeddings are interpolated"
        }
    })
}

pub(super) fn alpha() -> impl TypedValueParser<Value = Alpha> {
    choice(&Alpha::ALL, Alpha::name, |one| match one {
        Alpha::White => "The picture is composited over white, as transformers 5 does",
        Alpha::Drop => "The alpha band is dropped, as `.convert(\"RGB\")` does in transformers 4 and LLaVA",
    })
}

pub(super) fn exif_orientation() -> impl TypedValueParser<Value = ExifOrientation> {
    choice(&ExifOrientation::ALL, ExifOrientation::name, |one| match one {
        ExifOrientation::Ignore => "Pixels stay as they are stored, as `PIL.Image.open` gives them",
        ExifOrientation::Apply => {
            "The picture is turned upright, as `transformers.image_utils.load_image` does"
        }
    })
}

pub(super) fn format() -> impl TypedValueParser<Value = Format> {
    choice(&Format::OF_TENSORS, Format::name, |one| match one {
        Format::Npy => "NumPy's `.npy`, one array",
        Format::Safetensors => "`.safetensors`, named tensors and metadata",
        Format::Tar => "A tar of samples as WebDataset reads it, an `.npy` for each tensor",
        Format::Png => "A picture, which --draw writes",
    })
}

pub(super) fn dtype() -> impl TypedValueParser<Value = Dtype> {
    choice(&Dtype::ALL, Dtype::name, |one| match one {
        Dtype::F32 => "IEEE binary32",
        Dtype::F16 => "IEEE binary16; values beyond ±65504 become infinite",
        Dtype::Bf16 => "bfloat16, which only safetensors can name",
    })
}
