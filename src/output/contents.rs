//! What all outputs of a run share.

use super::{Dtype, Metadata};

/// A tensor that each image has.
///
/// ```
/// use clip_features::{Fit, ModelSpec, Opened, Options};
///
/// let mut options = Options::default();
/// options.fit = Fit::Keep;
/// let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// let spec = &opened.tensors()[0];
/// assert_eq!((spec.name.as_str(), &spec.shape), ("last_hidden_state", &None)); // as many tokens as a picture gives
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its shape; none where it depends on the picture.
    pub shape: Option<Vec<usize>>,
}

/// What is stored of each image, and what every output says of itself.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The tensors of an image, in order.
    pub tensors: Vec<TensorSpec>,
    /// The type that they are stored in.
    pub dtype: Dtype,
    /// What the outputs say of themselves, all but the image. A run of other settings is refused in the same place.
    pub settings: Metadata,
    /// Whether what is there is started anew rather than completed.
    pub overwrite: bool,
    /// Whether images that have changed since they were written are made again.
    pub update: bool,
    /// Whether images that failed by their own bytes are not tried again.
    pub accept_failures: bool,
}

impl Contents {
    /// What tells an image's tensors apart by their names: nothing of the only one.
    pub(super) fn apart(&self) -> impl Iterator<Item = Option<&str>> {
        let is_split = self.tensors.len() > 1;
        self.tensors.iter().map(move |tensor| is_split.then_some(tensor.name.as_str()))
    }

    /// How the names of `.npy` files of an image's tensors end: `npy`, or `NAME.npy` for each of several.
    pub(super) fn npy_extensions(&self) -> impl Iterator<Item = String> {
        self.apart().map(|tensor| tensor.map_or_else(|| "npy".into(), |tensor| format!("{tensor}.npy")))
    }

    /// The bytes of an image's tensors; none where they depend on the picture.
    pub fn image_bytes(&self) -> Option<u64> {
        let bytes = |shape: &Vec<usize>| (shape.iter().product::<usize>() * self.dtype.size()) as u64;
        self.tensors.iter().map(|tensor| tensor.shape.as_ref().map(bytes)).sum()
    }
}
