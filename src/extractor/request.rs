//! What is asked of a model: which tensors, of which layers, which of their tokens.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::figure::Drawing;
use crate::model::{ModelError, VisionConfig, Wanted};
use crate::processor::Patches;

/// A tensor that can be asked for.
///
/// ```
/// use clip_features::{ModelSpec, Opened, Options, TensorKind};
///
/// let mut options = Options::default();
/// options.request.tensors = vec![TensorKind::LastHiddenState, TensorKind::PoolerOutput];
/// let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// let shapes: Vec<_> = opened.tensors().into_iter().filter_map(|tensor| tensor.shape).collect();
/// assert_eq!(shapes, [vec![1, 257, 1024], vec![1, 1024]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TensorKind {
    /// The tower's output, every token
    LastHiddenState,
    /// What enters the first block and leaves each: N + 1 tensors, or those of the layers asked for
    HiddenStates,
    /// Each block's attention after the softmax, [1, heads, tokens, tokens]: N tensors, or those of the layers asked for
    Attentions,
    /// The token that stands for the image, [1, width]
    PoolerOutput,
    /// The pooled token in CLIP's space of images and texts, not normalized
    ImageEmbeds,
    /// What the language model of a vision-language model reads, after its projector
    ImageFeatures,
    /// The tower's input, [1, 3, 224, 224], or of NaFlex [1, patches, 768]; loads no weights
    PixelValues,
}

impl TensorKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LastHiddenState,
        Self::HiddenStates,
        Self::Attentions,
        Self::PoolerOutput,
        Self::ImageEmbeds,
        Self::ImageFeatures,
        Self::PixelValues,
    ];

    /// The name that transformers gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastHiddenState => "last_hidden_state",
            Self::HiddenStates => "hidden_states",
            Self::Attentions => "attentions",
            Self::PoolerOutput => "pooler_output",
            Self::ImageEmbeds => "image_embeds",
            Self::ImageFeatures => "image_features",
            Self::PixelValues => "pixel_values",
        }
    }

    /// Whether it is one tensor per layer.
    pub fn has_layers(self) -> bool {
        matches!(self, Self::HiddenStates | Self::Attentions)
    }

    /// Whether it has something for each patch.
    pub fn is_of_patches(self) -> bool {
        !matches!(self, Self::PoolerOutput | Self::ImageEmbeds)
    }

    /// Whether its second dimension is the tokens.
    pub fn has_tokens(self) -> bool {
        matches!(self, Self::LastHiddenState | Self::HiddenStates)
    }
}

/// The tokens to keep of (B, class + registers + patches, width).
///
/// ```
/// use clip_features::{ModelSpec, Opened, Options, Tokens};
///
/// for (tokens, count) in [(Tokens::All, 257), (Tokens::Patch, 256), (Tokens::Cls, 1)] {
///     let mut options = Options::default();
///     options.request.tokens = tokens;
///     let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
///     assert_eq!(opened.tensors()[0].shape, Some(vec![1, count, 1024]));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tokens {
    /// The class token and the registers where the tower has them, then the patches row by row
    #[default]
    All,
    /// The patches alone, as LLaVA's `patch`
    Patch,
    /// The class token alone
    Cls,
}

impl Tokens {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Patch, Self::Cls];

    /// The name in metadata and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Patch => "patch",
            Self::Cls => "cls",
        }
    }

    /// The first token that is kept and how many are, of an image of so many patches.
    pub(crate) fn span(self, config: &VisionConfig, patches: usize) -> (usize, usize) {
        match self {
            Self::All => (0, config.prefix_tokens() + patches),
            Self::Patch => (config.prefix_tokens(), patches),
            Self::Cls => (0, config.class_tokens),
        }
    }
}

/// A choice of layers: indices and ranges of transformers' tuples, negative ones counted from the end.
///
/// ```
/// use clip_features::Layers;
///
/// let layers: Layers = "-2,0,3..=5".parse().unwrap();
/// assert_eq!(layers.to_string(), "-2,0,3..=5");
/// assert!("3..=".parse::<Layers>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers(Vec<(i64, i64)>);

impl Layers {
    /// One layer.
    ///
    /// ```
    /// use clip_features::Layers;
    ///
    /// assert_eq!("-2".parse(), Ok(Layers::one(-2))); // the last but one, as LLaVA takes it
    /// ```
    pub fn one(layer: i64) -> Self {
        Self(vec![(layer, layer)])
    }

    /// The indices from 0 among `count` layers, in the order given, each once.
    fn resolve(&self, tensor: &'static str, count: usize) -> Result<Vec<usize>, ModelError> {
        let count = count as i64;
        let index = |layer: i64| {
            let index = if layer < 0 { layer + count } else { layer };
            if (0..count).contains(&index) {
                Ok(index)
            } else {
                Err(ModelError::NoSuchLayer { tensor, layer, first: -count, last: count - 1 })
            }
        };
        let mut indices = Vec::new();
        for &(first, last) in &self.0 {
            for found in index(first)?..=index(last)? {
                let found = found as usize;
                if !indices.contains(&found) {
                    indices.push(found);
                }
            }
        }
        Ok(indices)
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let layer = |text: &str| {
            text.trim()
                .parse::<i64>()
                .map_err(|_| format!("{text:?} is no layer, expected such as -2, or -2,-1, or 0..=24"))
        };
        let spans = text.split(',').map(|part| match part.split_once("..=") {
            Some((first, last)) => Ok((layer(first)?, layer(last)?)),
            None => layer(part).map(|layer| (layer, layer)),
        });
        spans.collect::<Result<_, String>>().map(Self)
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if first == last {
                write!(formatter, "{comma}{first}")?;
            } else {
                write!(formatter, "{comma}{first}..={last}")?;
            }
        }
        Ok(())
    }
}

/// One tensor of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: TensorKind,
    /// Its index, of a tensor that has layers.
    pub layer: Option<usize>,
}

impl Part {
    /// Its name in files and reports, such as `hidden_states.23`.
    pub fn name(self) -> String {
        match self.layer {
            Some(layer) => format!("{}.{layer}", self.kind.name()),
            None => self.kind.name().to_owned(),
        }
    }
}

/// What is wanted of each image.
///
/// ```
/// use clip_features::{ModelSpec, Opened, Options, TensorKind, Tokens};
///
/// let mut options = Options::default();
/// options.request.tensors = vec![TensorKind::HiddenStates];
/// options.request.layers = Some("-2,-1".parse()?);
/// options.request.grid = true;
/// options.request.tokens = Tokens::Patch;
/// let tensors = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?.tensors();
/// assert_eq!((tensors[0].name.as_str(), tensors.len()), ("hidden_states.23", 2));
/// assert_eq!(tensors[0].shape, Some(vec![1, 16, 16, 1024])); // rows and columns of patches
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Request {
    /// The tensors, in the order in which they are given back.
    pub tensors: Vec<TensorKind>,
    /// The layers of `hidden_states` and `attentions`; none for all of them.
    pub layers: Option<Layers>,
    /// The tokens of `last_hidden_state` and `hidden_states`.
    pub tokens: Tokens,
    /// Whether tokens, which then are patches, are given as rows and columns of the picture.
    pub grid: bool,
    /// Whether lists of tokens, attentions and pixel values have padding up to the number of patches that a picture may have, as
    /// transformers gives them of SigLIP 2 NaFlex.
    pub pad: bool,
    /// The picture to make of the patches of the first tensor that has some, in place of the tensors.
    pub draw: Option<Drawing>,
}

/// `last_hidden_state`, all tokens, as a list.
impl Default for Request {
    fn default() -> Self {
        Self {
            tensors: vec![TensorKind::LastHiddenState],
            layers: None,
            tokens: Tokens::All,
            grid: false,
            pad: false,
            draw: None,
        }
    }
}

impl Request {
    /// What a tower must give for this; nothing is loaded or run beyond it.
    ///
    /// # Errors
    /// A layer is out of range, or the tower has no such tokens.
    #[doc(hidden)]
    pub fn wanted(&self, config: &VisionConfig) -> Result<Wanted, ModelError> {
        if self.tokens == Tokens::Cls && config.class_tokens == 0 {
            return Err(ModelError::NoSuchTensor {
                tensor: "tokens cls",
                reason: format!("{} has no class token", config.family.name()),
                hint: "its tokens are patches alone; pooler_output stands for the image".into(),
            });
        }
        let mut wanted = Wanted { padding: self.pad, ..Wanted::default() };
        for Part { kind, layer } in self.parts(config)? {
            match (kind, layer) {
                (TensorKind::LastHiddenState, _) => wanted.last_hidden_state = true,
                (TensorKind::HiddenStates, layer) => wanted.hidden_states.extend(layer),
                (TensorKind::Attentions, layer) => wanted.attentions.extend(layer),
                (TensorKind::PoolerOutput, _) => wanted.pooler_output = true,
                (TensorKind::ImageEmbeds, _) => wanted.image_embeds = true,
                (TensorKind::ImageFeatures, _) => wanted.image_features = true,
                (TensorKind::PixelValues, _) => {}
            }
        }
        Ok(wanted)
    }

    /// The tensors one by one, layers in the order asked for.
    ///
    /// # Errors
    /// A layer is out of range.
    #[doc(hidden)]
    pub fn parts(&self, config: &VisionConfig) -> Result<Vec<Part>, ModelError> {
        let mut parts = Vec::new();
        for &kind in &self.tensors {
            let count = match kind {
                TensorKind::HiddenStates => config.num_hidden_layers + 1,
                TensorKind::Attentions => config.num_hidden_layers,
                _ => {
                    parts.push(Part { kind, layer: None });
                    continue;
                }
            };
            let layers = match &self.layers {
                Some(layers) => layers.resolve(kind.name(), count)?,
                None => (0..count).collect(),
            };
            parts.extend(layers.into_iter().map(|layer| Part { kind, layer: Some(layer) }));
        }
        Ok(parts)
    }

    /// The tokens that are kept: a grid is of patches.
    #[doc(hidden)]
    pub fn kept_tokens(&self) -> Tokens {
        if self.grid { Tokens::Patch } else { self.tokens }
    }

    /// How many patches all images have with their padding, if they have any; `patches` is what the processor cuts pictures into.
    #[doc(hidden)]
    pub fn padded(&self, patches: Option<Patches>) -> Option<usize> {
        patches.filter(|_| self.pad).map(|patches| patches.max_num_patches)
    }

    /// The shape of a part for an image whose input is `height` × `width`; `patches` is what the processor cuts pictures into, if it
    /// does.
    #[doc(hidden)]
    pub fn shape(
        &self,
        kind: TensorKind,
        config: &VisionConfig,
        height: usize,
        width: usize,
        patches: Option<Patches>,
    ) -> Vec<usize> {
        let (rows, columns) = (height / config.patch_size, width / config.patch_size);
        let count = self.padded(patches).unwrap_or(rows * columns);
        let tokens = config.prefix_tokens() + count;
        match kind {
            TensorKind::LastHiddenState | TensorKind::HiddenStates if self.grid => {
                vec![1, rows, columns, config.hidden_size]
            }
            TensorKind::LastHiddenState | TensorKind::HiddenStates => {
                vec![1, self.tokens.span(config, count).1, config.hidden_size]
            }
            TensorKind::Attentions => vec![1, config.num_attention_heads, tokens, tokens],
            TensorKind::PoolerOutput => vec![1, config.hidden_size],
            TensorKind::ImageEmbeds => vec![1, config.projection_dim.unwrap_or(0)],
            TensorKind::ImageFeatures => {
                let [tokens, width] = config.image_features_shape(rows, columns).unwrap_or_default();
                vec![1, tokens, width]
            }
            TensorKind::PixelValues => self.pixel_shape(height, width, patches),
        }
    }

    /// The shape of the tower's input, as the processor gives it.
    pub(super) fn pixel_shape(&self, height: usize, width: usize, patches: Option<Patches>) -> Vec<usize> {
        let Some(Patches { patch_size, .. }) = patches else { return vec![1, 3, height, width] };
        let own = (height / patch_size) * (width / patch_size);
        vec![1, self.padded(patches).unwrap_or(own), 3 * patch_size * patch_size]
    }

    /// Whether a tensor has the same shape whatever the size of the input.
    pub(super) fn is_of_one_shape(&self, kind: TensorKind, patches: Option<Patches>) -> bool {
        match kind {
            TensorKind::ImageFeatures => false,
            _ if self.padded(patches).is_some() => true,
            TensorKind::LastHiddenState | TensorKind::HiddenStates => self.kept_tokens() == Tokens::Cls,
            TensorKind::PoolerOutput | TensorKind::ImageEmbeds => true,
            TensorKind::Attentions | TensorKind::PixelValues => false,
        }
    }

    /// Whether any tensor comes from behind the projector to a language model.
    #[doc(hidden)]
    pub fn needs_projector(&self) -> bool {
        self.tensors.contains(&TensorKind::ImageFeatures)
    }

    /// Whether any tensor comes from the tower, so that weights are needed.
    #[doc(hidden)]
    pub fn needs_tower(&self) -> bool {
        self.tensors.iter().any(|&kind| kind != TensorKind::PixelValues)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn layers_are_read_as_they_are_written(spans in vec((-99..99i64, -99..99i64), 1..6), text in ".{0,20}") {
            let layers = Layers(spans);
            prop_assert_eq!(layers.to_string().parse(), Ok(layers));
            if let Ok(layers) = text.parse::<Layers>() {
                prop_assert_eq!(layers.to_string().parse(), Ok(layers));
            }
        }
    }

    fn resolved(text: &str, count: usize) -> Result<Vec<usize>, String> {
        let layers: Layers = text.parse()?;
        layers.resolve("hidden_states", count).map_err(|error| error.to_string())
    }

    #[test]
    fn layers_are_pythons_indices() {
        assert_eq!(resolved("-1", 25).unwrap(), [24]);
        assert_eq!(resolved("-2,-1", 25).unwrap(), [23, 24]);
        assert_eq!(resolved("3,0,3", 25).unwrap(), [3, 0]);
        assert_eq!(resolved("0..=24", 25).unwrap(), (0..25).collect::<Vec<_>>());
        assert_eq!(resolved("-3..=-1,0", 4).unwrap(), [1, 2, 3, 0]);
    }

    #[test]
    fn a_layer_out_of_range_is_refused_with_the_range() {
        for text in ["25", "-26", "0..=25"] {
            let error = resolved(text, 25).unwrap_err();
            assert!(error.contains("has layers -25 to 24"), "{text}: {error}");
        }
        for text in ["", "a", "1,", "1..3", "..=4", "1.5"] {
            assert!(resolved(text, 25).unwrap_err().contains("is no layer"), "{text}");
        }
    }

    #[test]
    fn no_block_runs_above_the_highest_that_is_needed() {
        let config = VisionConfig::vit_large_patch14();
        let depth = |tensors: &[TensorKind], layers: &str| {
            let layers = (!layers.is_empty()).then(|| layers.parse().unwrap());
            let request = Request { tensors: tensors.to_vec(), layers, ..Request::default() };
            request.wanted(&config).unwrap().depth(&config)
        };
        use TensorKind::{Attentions, HiddenStates, ImageEmbeds, LastHiddenState, PixelValues};
        assert_eq!(depth(&[LastHiddenState], ""), 24);
        assert_eq!(depth(&[HiddenStates], "-2"), 23);
        assert_eq!(depth(&[HiddenStates], "0"), 0);
        assert_eq!(depth(&[Attentions], "0"), 1);
        assert_eq!(depth(&[HiddenStates, Attentions], "3"), 4);
        assert_eq!(depth(&[HiddenStates, ImageEmbeds], "3"), 24);
        assert_eq!(depth(&[PixelValues], ""), 0);
    }
}
