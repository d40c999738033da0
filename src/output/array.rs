//! A tensor on its way out.

/// One tensor to write, in float32 as it was computed.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, model) = given::model()?;
/// # let extractor = clip_features::Extractor::load(&model, Default::default())?;
/// let array = extractor.extract(b"P6 1 1 255\n\xff\x80\x00")?.remove(0); // [1, 5, 48]
/// let tokens: Vec<&[f32]> = array.values.chunks(array.shape[2]).collect();
/// assert_eq!((array.name.as_str(), tokens.len()), ("last_hidden_state", 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name, the key in a safetensors file.
    pub name: String,
    /// Its shape. The first dimension is 1, or counts the tiles of an image.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub values: Vec<f32>,
}

impl Array {
    /// Puts another's elements after these, along the first dimension; the others are the same.
    pub(crate) fn append(&mut self, below: Self) {
        debug_assert_eq!(self.shape[1..], below.shape[1..]);
        self.shape[0] += below.shape[0];
        self.values.extend(below.values);
    }
}
