//! Which of transformers' two implementations of an image processor is followed.

use serde::{Deserialize, Serialize};

/// transformers' word for what an image processor computes with. Both of its classes read the same config.
///
/// ```
/// use clip_features::{Backend, ModelSpec, Opened, Options};
///
/// let mut options = Options::default();
/// options.backend = Some(Backend::Torchvision);
/// let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// assert_eq!(opened.metadata().get("processor_backend"), Some("torchvision"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backend {
    /// Pillow and NumPy: `CLIPImageProcessorPil` and its like
    #[default]
    Pil,
    /// torchvision: `CLIPImageProcessor` and its like, on a CPU with AVX2
    Torchvision,
    /// torchvision's transforms on Pillow's pictures, which open_clip and timm use: not to be chosen, it goes with their checkpoints
    Transforms,
}

impl Backend {
    /// Those of transformers.
    pub const ALL: [Self; 2] = [Self::Pil, Self::Torchvision];

    /// The name, as in `AutoImageProcessor.from_pretrained(backend=…)`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pil => "pil",
            Self::Torchvision => "torchvision",
            Self::Transforms => "transforms",
        }
    }
}
