//! Bytes of an image → features: the whole way for one image or a batch in memory.
//!
//! [`Opened`] is a model of which everything that can be refused has been looked at, and whose weights are still on disk;
//! [`Extractor`] has them too. What is promised: an image's features do not depend on its batch, its neighbours or the number of
//! threads. Nothing here knows of files of many images, of resuming, or of outputs.

mod batch;
mod drawn;
mod encode;
mod error;
mod memory;
mod metadata;
mod opened;
mod options;
mod padded;
mod picture;
mod request;
mod unloaded;

use std::sync::Arc;

use crate::{
    model::{ModelError, ModelSpec, VisionTower},
    output::{Array, Dtype},
    processor::PixelValues,
};

pub use drawn::PictureFile;
pub use error::ExtractError;
pub use memory::shared_budget;
pub use opened::Opened;
pub use options::Options;
pub use picture::{Picture, Preprocessed};
pub use request::{Layers, Part, Request, TensorKind, Tokens};

/// A model that is ready to run.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, model) = given::model()?;
/// use clip_features::{Extractor, Options};
///
/// let extractor = Extractor::load(&model, Options::default())?;
/// let photo = b"P6 1 1 255\n\xff\x80\x00"; // what a file holds: here a PPM of one pixel
/// let features = extractor.extract(photo)?;
/// assert_eq!(features[0].shape, [1, 5, 48]); // of ViT-L/14 [1, 257, 1024]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Extractor {
    opened: Arc<Opened>,
    /// None where only the tower's input is wanted.
    tower: Option<VisionTower>,
}

impl Extractor {
    /// Loads as much of a model's weights as the options ask for.
    ///
    /// # Errors
    /// As [`Opened::open`], or the weights cannot be read.
    pub fn load(spec: &ModelSpec, options: Options) -> Result<Self, ModelError> {
        Self::of(Opened::open(spec, options)?.into(), false)
    }

    /// Reads the weights of what is opened; `once` leaves them for the forward pass to read, which is faster where there
    /// will be one only.
    ///
    /// ```
    /// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
    /// # let (directory, model) = given::model()?;
    /// use clip_features::{Extractor, Opened, Options};
    ///
    /// let opened = Opened::open(&model, Options::default())?;
    /// assert_eq!(opened.input_size(), Some((64, 64))); // what can be refused is known by now
    /// let extractor = Extractor::of(opened.into(), false)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The weights cannot be read.
    pub fn of(opened: Arc<Opened>, once: bool) -> Result<Self, ModelError> {
        let tower = opened.load(once)?;
        Ok(Self { opened, tower })
    }

    /// What was opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Bytes of an image → the tensors asked for, each with a leading dimension of 1.
    ///
    /// # Errors
    /// The image cannot be decoded, resized or encoded.
    pub fn extract(&self, bytes: &[u8]) -> Result<Vec<Array>, ExtractError> {
        let input = self.opened.preprocess(bytes)?;
        Ok(self.encode(vec![input.pixel_values])?.remove(0))
    }

    /// The inputs of some images → for each image, in order, the tensors asked for, each with a leading dimension of 1.
    ///
    /// ```
    /// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
    /// # let (directory, model) = given::model()?;
    /// # let (first, second) = (b"P6 1 1 255\n\xff\x80\x00", b"P6 1 1 255\n\x00\x80\xff");
    /// # let extractor = clip_features::Extractor::load(&model, Default::default())?;
    /// let ready = |photo| extractor.opened().preprocess(photo).map(|ready| ready.pixel_values);
    /// let features = extractor.encode(vec![ready(first)?, ready(second)?])?;
    /// assert_eq!(features[1], extractor.extract(second)?); // whatever its batch
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An input does not fit the tower, or there is not the memory for it.
    pub fn encode(&self, batch: Vec<PixelValues>) -> Result<Vec<Vec<Array>>, ModelError> {
        self.encode_as(batch, Dtype::F32)
    }

    /// The same for tensors that will be stored in a type: where it takes less to bring them to the host in it, they are rounded to it.
    ///
    /// # Errors
    /// As [`VisionTower::outputs`].
    #[doc(hidden)]
    pub fn encode_as(&self, batch: Vec<PixelValues>, stored: Dtype) -> Result<Vec<Vec<Array>>, ModelError> {
        let (request, patches) = (&self.opened.options.request, self.opened.patches());
        match &self.tower {
            None => {
                let one = |values: PixelValues| encode::pixel_array(values, request, patches);
                Ok(batch.into_iter().map(|values| vec![one(values)]).collect())
            }
            Some(tower) => {
                let whole = self.opened.road().takes_whole_batches().then_some(self.opened.batch());
                let taken = encode::Taken { whole, stored };
                self.opened.pool.install(|| encode::encode(tower, &batch, request, patches, taken))
            }
        }
    }
}
