//! What an image processor does, settled: every field that changes a pixel.

use pillow_exact::Filter;

use super::backend::Backend;
use super::error::ConfigError;
use super::size::Size;
use super::tiles::Tiling;

/// A parsed and validated processor configuration: every field that changes a pixel.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProcessorConfig {
    /// Size to resize to; none when `do_resize` is false.
    pub resize: Option<Size>,
    /// Filter of that resize.
    #[serde(serialize_with = "filter_name")]
    pub resample: Filter,
    /// Height and width of the center crop; none when `do_center_crop` is false.
    pub crop: Option<(u32, u32)>,
    /// Colour around a picture that is smaller than the crop.
    #[serde(skip_serializing_if = "is_black")]
    pub fill: [u8; 3],
    /// Factor on the 0..=255 values; none when `do_rescale` is false.
    pub rescale: Option<f64>,
    /// Mean and standard deviation per channel; none when `do_normalize` is false.
    pub normalize: Option<Normalize>,
    /// Colour of the canvas on which pictures are centred before anything else; none unless the picture is to be padded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad: Option<[u8; 3]>,
    /// How tiles are cut beside the whole picture; none where there are none, or where they are not wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
    /// Whether pixels become floats before they are resized, as `DINOv3ViTImageProcessor` does it, rather than after.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rescale_first: bool,
    /// Whose arithmetic it is. Outputs name it apart from the settings that a config file has.
    #[serde(skip)]
    pub backend: Backend,
}

fn is_black(colour: &[u8; 3]) -> bool {
    *colour == [0; 3]
}

fn filter_name<S: serde::Serializer>(filter: &Filter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(filter.name())
}

/// Mean and standard deviation of the three channels, as the config writes them.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Normalize {
    /// `image_mean`.
    pub mean: [f64; 3],
    /// `image_std`.
    pub std: [f64; 3],
}

impl Default for Normalize {
    /// OpenAI CLIP's.
    fn default() -> Self {
        Self {
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

impl ProcessorConfig {
    /// These settings as one line of JSON, for the metadata of an output.
    pub fn describe(&self) -> String {
        serde_json::to_string(self).expect("settings have no map with other keys than strings")
    }

    /// Height and width of every output; none if they depend on the picture.
    pub fn output_size(&self) -> Option<(u32, u32)> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some(crop),
            (None, Some(Size::Exact { height, width })) => Some((height, width)),
            _ => None,
        }
    }

    /// Height and width that every output has at least; none if that is not known.
    pub fn least_output_size(&self) -> Option<(u32, u32)> {
        self.output_size().or(match self.resize? {
            Size::Patches { edge, patch } => {
                let edge = edge.checked_div(patch)? * patch;
                Some((edge, edge))
            }
            Size::ShortestEdge { edge, longest: None } => Some((edge, edge)),
            Size::Cover { height, width } => Some((height, width)),
            _ => None,
        })
    }

    /// CLIP's defaults at `image_size`: bicubic to the short side, center crop to the square, 1/255, OpenAI's mean and std.
    pub fn clip(image_size: u32) -> Self {
        Self {
            resize: Some(Size::ShortestEdge { edge: image_size, longest: None }),
            resample: Filter::Bicubic,
            crop: Some((image_size, image_size)),
            fill: [0; 3],
            rescale: Some(1.0 / 255.0),
            normalize: Some(Normalize::default()),
            pad: None,
            tiling: None,
            rescale_first: false,
            backend: Backend::Pil,
        }
    }
}

impl ProcessorConfig {
    /// The same settings as another backend follows them.
    ///
    /// # Errors
    /// torchvision does not do what they ask for, or they are open_clip's or timm's, for which there is one backend only.
    pub fn on(self, backend: Backend) -> Result<Self, ConfigError> {
        match (self.backend, backend) {
            (Backend::Transforms, Backend::Pil | Backend::Transforms) => Ok(self),
            (Backend::Transforms, Backend::Torchvision) => Err(ConfigError::Field {
                field: "processor".into(),
                found: backend.name().into(),
                expected: "pil, since the transforms of open_clip and timm resize with Pillow".into(),
            }),
            (_, Backend::Torchvision) => {
                self.check_torchvision()?;
                Ok(Self { backend, ..self })
            }
            (_, Backend::Pil) if self.rescale_first => Err(ConfigError::Field {
                field: "the backend".into(),
                found: backend.name().into(),
                expected: "torchvision, the only one that DINOv3ViTImageProcessor has".into(),
            }),
            (_, backend) => Ok(Self { backend, ..self }),
        }
    }

    /// The backend where none is asked for: Pillow's wherever there is such a class.
    pub fn own_backend(&self) -> Backend {
        if self.rescale_first { Backend::Torchvision } else { Backend::Pil }
    }

    /// The same settings with the tiles that they have, or without.
    ///
    /// # Errors
    /// Tiles are wanted, and the settings have none.
    pub fn with_tiles(self, tiles: bool) -> Result<Self, ConfigError> {
        match (tiles, &self.tiling) {
            (true, None) => Err(ConfigError::Field {
                field: "image_grid_pinpoints".into(),
                found: "absent".into(),
                expected:
                    "given where tiles are asked for, as LLaVA-NeXT's and LLaVA-OneVision's processors do"
                        .into(),
            }),
            (true, Some(_)) => Ok(self),
            (false, _) => Ok(Self { tiling: None, ..self }),
        }
    }

    /// Refuses what raises in transformers' torchvision classes, and what is not followed to the bit: a lanczos filter over floats, and
    /// 8-bit integers times a whole number, which wrap.
    fn check_torchvision(&self) -> Result<(), ConfigError> {
        let refuse = |field: &str, found: String, expected: &str| {
            Err(ConfigError::Field { field: field.into(), found, expected: expected.into() })
        };
        if let (Some(_), Filter::Box | Filter::Hamming) = (self.resize, self.resample) {
            let expected =
                "nearest, lanczos, bilinear or bicubic, the filters that torchvision has for images";
            return refuse("resample", self.resample.name().into(), expected);
        }
        if self.rescale_first {
            if let (Some(_), Filter::Lanczos) = (self.resize, self.resample) {
                let expected =
                    "nearest, bilinear or bicubic where pixels are rescaled before they are resized";
                return refuse("resample", self.resample.name().into(), expected);
            }
            // A config's 1 and 1.0 are one number here, and with the former pixels stay integers.
            if let Some(factor) = self.rescale.filter(|factor| factor.fract() == 0.0) {
                let expected = "a fraction, with which DINOv3ViTImageProcessor makes floats of pixels";
                return refuse("rescale_factor", factor.to_string(), expected);
            }
            if self.rescale.is_none() {
                return refuse(
                    "do_rescale",
                    "false".into(),
                    "true, since DINOv3ViTImageProcessor normalizes floats",
                );
            }
            return Ok(());
        }
        if let (Some(factor), None) = (self.rescale, self.normalize)
            && factor.fract() == 0.0
            && !(0.0..=1.0).contains(&factor)
        {
            let expected =
                "a fraction where do_normalize is false, since torchvision's integers of 8 bits wrap";
            return refuse("rescale_factor", factor.to_string(), expected);
        }
        if let (Some(factor), Some(normalize)) = (self.rescale, self.normalize) {
            // It divides 1 by the factor, and then by the products with std.
            let products = normalize.std.map(|std| std as f32 * (1.0 / factor) as f32);
            if products.iter().any(|&product| product == 0.0 || !product.is_finite()) {
                return refuse(
                    "rescale_factor",
                    factor.to_string(),
                    "a factor by which torchvision can divide image_std",
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_torchvision_cannot_do_is_refused_by_name() {
        let clip = ProcessorConfig::clip(224);
        for (config, field) in [
            (ProcessorConfig { resample: Filter::Box, ..clip.clone() }, "resample"),
            (ProcessorConfig { resample: Filter::Hamming, ..clip.clone() }, "resample"),
            (ProcessorConfig { rescale: Some(0.0), ..clip.clone() }, "rescale_factor"),
            (ProcessorConfig { rescale: Some(2.0), normalize: None, ..clip.clone() }, "rescale_factor"),
            (ProcessorConfig { rescale: Some(-1.0), normalize: None, ..clip.clone() }, "rescale_factor"),
        ] {
            let error = config.clone().on(Backend::Torchvision).expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
            assert_eq!(config.clone().on(Backend::Pil).expect("Pillow can"), config);
        }
        let dinov3 = ProcessorConfig::dinov3(224);
        assert_eq!(dinov3.own_backend(), Backend::Torchvision);
        let error = dinov3.clone().on(Backend::Pil).expect_err("no such class").to_string();
        assert!(error.contains("the backend is pil, but must be torchvision"), "{error}");
        for (config, field) in [
            (ProcessorConfig { resample: Filter::Lanczos, ..dinov3.clone() }, "resample"),
            (ProcessorConfig { resample: Filter::Box, ..dinov3.clone() }, "resample"),
            (ProcessorConfig { rescale: Some(1.0), ..dinov3.clone() }, "rescale_factor"),
            (ProcessorConfig { rescale: None, ..dinov3 }, "do_rescale"),
        ] {
            assert!(config.on(Backend::Torchvision).expect_err(field).to_string().contains(field));
        }
        for (rescale, normalize) in [(1.0, None), (0.5, None), (2.0, clip.normalize)] {
            let config = ProcessorConfig { rescale: Some(rescale), normalize, ..clip.clone() };
            config.on(Backend::Torchvision).expect("it can");
        }
        let unresized = ProcessorConfig { resample: Filter::Box, resize: None, ..clip };
        assert_eq!(unresized.on(Backend::Torchvision).expect("not in use").backend, Backend::Torchvision);
    }
}
