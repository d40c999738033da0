//! What an image processor does, settled: every field that changes a pixel.

use pillow_exact::Filter;

use super::size::Size;

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
    /// Factor on the 0..=255 values; none when `do_rescale` is false.
    pub rescale: Option<f64>,
    /// Mean and standard deviation per channel; none when `do_normalize` is false.
    pub normalize: Option<Normalize>,
    /// Colour of the square on which pictures are centred before anything else; none unless the picture is to be padded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad: Option<[u8; 3]>,
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

    /// CLIP's defaults at `image_size`: bicubic to the short side, center crop to the square, 1/255, OpenAI's mean and std.
    pub fn clip(image_size: u32) -> Self {
        Self {
            resize: Some(Size::ShortestEdge { edge: image_size, longest: None }),
            resample: Filter::Bicubic,
            crop: Some((image_size, image_size)),
            rescale: Some(1.0 / 255.0),
            normalize: Some(Normalize::default()),
            pad: None,
        }
    }
}
