//! A model, opened: everything that can be refused is looked at before any work.

use std::{num::NonZero, path::PathBuf};

use image::RgbImage;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    batch,
    error::ExtractError,
    memory::check_memory,
    metadata::metadata,
    options::Options,
    picture::{Preprocessed, preprocess},
    request::{Part, Request, TensorKind},
    unloaded::UnloadedTower,
};
use crate::{
    device::{Road, Taken},
    model::{Model, ModelError, ModelFiles, ModelSpec, VisionConfig, VisionTower},
    output::{Dtype, Metadata, TensorSpec},
    processor::{Fit, Patches, PixelValues, Processor},
};

/// What is known of an extractor before its weights are read.
///
/// ```
/// use clip_features::{ModelSpec, Opened, Options};
///
/// let model = ModelSpec::Random { seed: 0, directory: None }; // ViT-L/14
/// let opened = Opened::open(&model, Options::default())?;
/// assert_eq!(opened.input_size(), Some((224, 224)));
/// assert_eq!(opened.tensors()[0].shape, Some(vec![1, 257, 1024]));
/// assert_eq!(opened.metadata().get("family"), Some("CLIP"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Opened {
    pub(super) options: Options,
    processor: Processor,
    /// The tower, unless only its input is wanted.
    tower: Option<UnloadedTower>,
    road: Road,
    batch: usize,
    parts: Vec<Part>,
    metadata: Metadata,
    files: Vec<ModelFiles>,
    pub(super) pool: ThreadPool,
}

impl Opened {
    /// Opens a model. Of its weights only the headers, and what their fingerprint takes, are read.
    ///
    /// # Errors
    /// A file is missing or damaged, a config asks for what is not supported, a tensor is missing or has another shape than
    /// the config says, or the model does not give what the options ask for.
    pub fn open(spec: &ModelSpec, options: Options) -> Result<Self, ModelError> {
        let threads = options.threads.get();
        let pool =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("tower-{index}"));
        let pool =
            pool.build().map_err(|error| ModelError::Threads { threads, reason: error.to_string() })?;
        let model = Model::open(spec)?;
        let files = model.files();
        let Options { fit, image_size, max_num_patches, backend, tiles, .. } = options;
        let processor = model.processor_with(fit, image_size, max_num_patches, backend, tiles)?;
        let request = &options.request;
        let patches = processor.config().patches();
        if request.pad && patches.is_none() {
            return Err(ModelError::NoSuchTensor {
                tensor: "padding",
                reason: "the image processor has no number of patches to pad to".into(),
                hint: "only SigLIP 2 NaFlex pads, since its pictures have shapes of their own".into(),
            });
        }
        if !request.needs_tower() {
            let road = Road::default();
            let parts = vec![Part { kind: TensorKind::PixelValues, layer: None }];
            let metadata = metadata(&options, &model, &processor, None)?;
            let batch = options.batch.map_or_else(|| batch::of_cpu(options.threads), NonZero::get);
            return Ok(Self { options, processor, tower: None, road, batch, parts, metadata, files, pool });
        }
        let Taken { road, .. } = options.choose_road()?;
        let mut config = model.config()?;
        config.interpolate_pos_encoding |= options.image_size.is_some() || options.fit == Fit::Keep;
        if let Some((height, width)) = processor.output_size() {
            check(&config, request, height as usize, width as usize)?;
        } else if let Some((height, width)) = processor.config().least_output_size() {
            config.check(height as usize, width as usize)?;
        }
        if let Some(Patches { patch_size, .. }) = patches
            && patch_size != config.patch_size
        {
            return Err(ModelError::PatchSize { processor: patch_size, tower: config.patch_size });
        }
        let wanted = request.wanted(&config)?;
        let weights = model.weights_in(wanted.scope())?;
        let tower = UnloadedTower::new(wanted, config, weights)?;
        road.check_room(tower.bytes(&road))?;
        let parts = request.parts(&tower.config)?;
        let metadata = metadata(&options, &model, &processor, Some((&tower, &road)))?;
        let batch = match options.batch {
            Some(batch) => batch.get(),
            None if road.is_gpu() => {
                let image = image_bytes(&tower.config, request, &processor);
                batch::of_gpu(road.free(), tower.bytes(&road), image)
            }
            None => batch::of_cpu(options.threads),
        };
        let opened =
            Self { options, processor, tower: Some(tower), road, batch, parts, metadata, files, pool };
        opened.check_drawing()?;
        Ok(opened)
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What the tower is computed with.
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// The most images that the tower takes at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// All that decides the numbers of an image's tensors, for an output to say.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The files of the model, as far as they are known by name.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.iter().flat_map(ModelFiles::all).collect()
    }

    /// The tower's sizes; none where only its input is wanted.
    #[doc(hidden)]
    pub fn config(&self) -> Option<&VisionConfig> {
        self.tower.as_ref().map(|tower| &tower.config)
    }

    /// Height and width of the tower's input; none where they depend on the picture.
    pub fn input_size(&self) -> Option<(usize, usize)> {
        self.processor.output_size().map(|(height, width)| (height as usize, width as usize))
    }

    /// What pictures are cut into, where the tower's input is patches.
    #[doc(hidden)]
    pub fn patches(&self) -> Option<Patches> {
        self.processor.config().patches()
    }

    /// How many patches of padding follow an image's own; none where there are as many as the model may have.
    #[doc(hidden)]
    pub fn padding(&self, own: usize) -> usize {
        self.options.request.padded(self.patches()).map_or(0, |count| count.saturating_sub(own))
    }

    /// The tensors of each image, in order.
    #[doc(hidden)]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Names and shapes of what is made of each image: the tensors, or a picture, whose size depends on what is in it.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        // How many tiles there are depends on the picture.
        let size = self.input_size().filter(|_| !self.options.tiles);
        self.specs(&self.options.request, |part| size.or_else(|| self.fixed_size(part)))
    }

    /// The same, with the smallest shapes that a picture can give where they depend on it; none where that is not known.
    #[doc(hidden)]
    pub fn least_tensors(&self) -> Vec<TensorSpec> {
        let least = self.processor.config().least_output_size();
        let least = least.map(|(height, width)| (height as usize, width as usize));
        self.specs(&self.options.request, |part| least.or_else(|| self.fixed_size(part)))
    }

    /// The same with the largest shapes, of a processor that says how many patches a picture may have; else none.
    #[doc(hidden)]
    pub fn largest_tensors(&self) -> Option<Vec<TensorSpec>> {
        self.patches().filter(|_| self.options.request.draw.is_none())?;
        let padded = Request { pad: true, grid: false, ..self.options.request.clone() };
        Some(self.specs(&padded, |_| Some((0, 0))))
    }

    /// Any size of input, for a tensor whose shape does not depend on it.
    fn fixed_size(&self, part: &Part) -> Option<(usize, usize)> {
        let is_one = !self.options.tiles && self.options.request.is_of_one_shape(part.kind, self.patches());
        is_one.then_some((0, 0))
    }

    /// The tensors' names, and the shapes that they have for inputs of some sizes.
    fn specs(&self, request: &Request, size: impl Fn(&Part) -> Option<(usize, usize)>) -> Vec<TensorSpec> {
        if request.draw.is_some() {
            return vec![TensorSpec { name: "picture".into(), shape: None }];
        }
        let shape = |kind, (height, width)| match self.config() {
            Some(config) => request.shape(kind, config, height, width, self.patches()),
            None => request.pixel_shape(height, width, self.patches()),
        };
        let spec = |part: &Part| TensorSpec {
            name: part.name(),
            shape: size(part).map(|size| shape(part.kind, size)),
        };
        self.parts.iter().map(spec).collect()
    }

    /// Decodes an image and makes the tower's input of it, exactly as the reference's processor does. The picture's pixels are kept
    /// where they are to be drawn on.
    ///
    /// ```
    /// # use clip_features::{ModelSpec, Opened, Options};
    /// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, Options::default())?;
    /// let ready = opened.preprocess(b"P6 2 1 255\n\x00\x80\xff\xff\xff\xff")?;
    /// assert_eq!((ready.picture.width, ready.picture.height), (2, 1));
    /// assert_eq!((ready.pixel_values.height(), ready.pixel_values.width()), (224, 224));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The bytes are no picture that can be decoded, or one that cannot be resized or does not fit the tower.
    pub fn preprocess(&self, bytes: &[u8]) -> Result<Preprocessed, ExtractError> {
        let keep = self.options.request.draw.is_some();
        let ready = preprocess(bytes, &self.options.decode(), &self.processor, keep)?;
        self.check(&ready.pixel_values)?;
        Ok(ready)
    }

    /// Makes the tower's input of a picture that is decoded.
    ///
    /// ```
    /// # use clip_features::{ModelSpec, Opened, Options};
    /// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, Options::default())?;
    /// use clip_features::image::{Rgb, RgbImage};
    ///
    /// let white = RgbImage::from_pixel(640, 480, Rgb([255; 3]));
    /// let values = opened.preprocess_rgb(&white)?.into_vec(); // (3, 224, 224), channel first
    /// assert_eq!(values[0], (1.0 - 0.48145466) / 0.26862954); // CLIP's mean and deviation of red
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It cannot be resized, or does not fit the tower.
    pub fn preprocess_rgb(&self, rgb: &RgbImage) -> Result<PixelValues, ExtractError> {
        let pixel_values = self.processor.process(rgb)?;
        self.check(&pixel_values)?;
        Ok(pixel_values)
    }

    /// Whether the tower, and what follows it, take such an input.
    fn check(&self, input: &PixelValues) -> Result<(), ModelError> {
        let request = &self.options.request;
        self.config().map_or(Ok(()), |config| check(config, request, input.height(), input.width()))
    }

    /// Runs something on the threads of the options.
    #[doc(hidden)]
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Reads the weights that the options ask for, if any.
    pub(super) fn load(&self, once: bool) -> Result<Option<VisionTower>, ModelError> {
        // Tiles take several forward passes.
        let once = once && !self.options.tiles;
        self.tower.as_ref().map(|tower| self.pool.install(|| tower.load(&self.road, once))).transpose()
    }
}

/// What an image takes of a GPU; where that depends on the picture, one of the tower's own size, or with all patches that it may have.
fn image_bytes(config: &VisionConfig, request: &Request, processor: &Processor) -> u64 {
    let own = [config.image_size; 2];
    let least = processor.config().least_output_size();
    let size = least.map_or(own, |(height, width)| [height as usize, width as usize]);
    let cut = |patches: Patches| [patches.patch_size * patches.max_num_patches, patches.patch_size];
    let size @ [height, width] = processor.config().patches().map_or(size, cut);
    let bytes = |&kind: &TensorKind| {
        let layers = if kind.has_layers() { config.num_hidden_layers as u64 + 1 } else { 1 };
        layers.saturating_mul(Dtype::F32.bytes(&request.shape(kind, config, height, width, None)))
    };
    batch::image_bytes(config, size, request.tensors.iter().map(bytes).fold(0, u64::saturating_add))
}

/// Whether what is asked for can be had of an input of this size.
fn check(config: &VisionConfig, request: &Request, height: usize, width: usize) -> Result<(), ModelError> {
    config.check(height, width)?;
    let kept = request.parts(config)?.into_iter().filter(|part| part.kind.has_layers());
    let bytes = |part: Part| Dtype::F32.bytes(&request.shape(part.kind, config, height, width, None));
    check_memory(config, height, width, kept.map(bytes).fold(0, u64::saturating_add))?;
    if !request.needs_projector() || config.image_features.is_err() {
        return Ok(()); // the latter is told with what there is
    }
    let (rows, columns) = (height / config.patch_size, width / config.patch_size);
    config.image_features_shape(rows, columns).map(drop).map_err(|reason| ModelError::NoSuchTensor {
        tensor: "image_features",
        reason: format!("{reason}, in a picture of {height}x{width}"),
        hint: "take pictures of the tower's own size".into(),
    })
}
