//! `preprocessor_config.json`, old and new spellings, to settled values.
//!
//! Absent fields (and nulls) take the defaults of the transformers class that the config names (see [`ProcessorKind`]); fields that
//! it ignores are ignored here too; a value that cannot be honoured is refused by the name of its field.

use pillow_exact::Filter;
use serde_json::{Map, Value};

use super::backend::Backend;
use super::config::{Normalize, ProcessorConfig};
use super::error::{ConfigError, wrong};
use super::fit::pad_colour;
use super::kind::ProcessorKind;
use super::size::{Size, crop_size, pinpoints, size};
use super::tiles::Tiling;

impl ProcessorConfig {
    /// Parses the text of a `preprocessor_config.json` (or of the object `image_processor` in a `processor_config.json`).
    ///
    /// # Errors
    /// When the text is not a JSON object, the config is another model's, or a field cannot be honoured.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::from_json_of(text, ProcessorKind::Clip)
    }

    /// The same, with the class that is meant where the config names none.
    ///
    /// # Errors
    /// As [`ProcessorConfig::from_json`].
    pub fn from_json_of(text: &str, unnamed: ProcessorKind) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| ConfigError::Json(error.to_string()))?;
        match value {
            Value::Object(object) => Self::from_object(&Fields(&object), unnamed),
            other => Err(ConfigError::Json(format!("found {other}"))),
        }
    }

    fn from_object(fields: &Fields, unnamed: ProcessorKind) -> Result<Self, ConfigError> {
        let kind = fields.kind()?.unwrap_or(unnamed);
        let default = kind.defaults();
        if !fields.flag("do_convert_rgb", true)? {
            return Err(fields.wrong("do_convert_rgb", "true (the towers see RGB)"));
        }
        let pads = fields.flag("do_pad", false)?;
        // Where tiles are cut, it fills up a batch of pictures, and none of their pixels.
        if pads && !(kind == ProcessorKind::Llava || kind.cuts_tiles()) {
            return Err(fields.wrong("do_pad", "false"));
        }
        if fields.flag("do_pan_and_scan", false)? {
            return Err(fields.wrong("do_pan_and_scan", "false"));
        }
        let square = fields.flag("default_to_square", kind == ProcessorKind::Gemma3)?;
        let size = if fields.flag("use_square_size", false)? {
            Some(Size::Exact { height: 224, width: 224 })
        } else {
            fields.get("size").map(|value| size(value, square)).transpose()?
        };
        let normalize = default.normalize.unwrap_or_default();
        let mean = fields.channels("image_mean")?.unwrap_or(normalize.mean);
        let settings = Self {
            resize: if fields.flag("do_resize", true)? { size.or(default.resize) } else { None },
            resample: fields.filter("resample")?.unwrap_or(default.resample),
            crop: if fields.flag("do_center_crop", default.crop.is_some())? {
                let crop = fields.get("crop_size").map(crop_size).transpose()?.or(default.crop);
                Some(crop.ok_or_else(|| fields.wrong("crop_size", "given where do_center_crop is true"))?)
            } else {
                None
            },
            rescale: if fields.flag("do_rescale", true)? {
                fields.number("rescale_factor")?.or(default.rescale)
            } else {
                None
            },
            normalize: if fields.flag("do_normalize", true)? {
                let std = fields.channels("image_std")?.unwrap_or(normalize.std);
                if std.iter().any(|&value| value as f32 == 0.0) {
                    return Err(fields.wrong("image_std", "other than zero"));
                }
                Some(Normalize { mean, std })
            } else {
                None
            },
            pad: (pads && kind == ProcessorKind::Llava).then(|| pad_colour(mean)),
            tiling: None,
            backend: Backend::Pil,
        };
        if kind.cuts_tiles() { settings.cutting_tiles(fields, &default, size) } else { Ok(settings) }
    }

    /// These settings for the whole picture, and beside them those of its tiles. `size` is the config's own.
    fn cutting_tiles(self, fields: &Fields, default: &Self, size: Option<Size>) -> Result<Self, ConfigError> {
        let Some(size) = size.or(default.resize) else { return Err(fields.wrong("size", "given")) };
        let (height, width) = match size {
            Size::ShortestEdge { edge, longest: None } => (edge, edge),
            Size::Exact { height, width } => (height, width),
            _ => return Err(fields.wrong("size", "a number, shortest_edge, or height and width")),
        };
        // The crop's size counts whether or not it is cropped to.
        let crop = fields.get("crop_size").map(crop_size).transpose()?.or(default.crop);
        let tiling = Tiling {
            pinpoints: match fields.get("image_grid_pinpoints") {
                Some(value) => pinpoints(value)?,
                None => default.tiling.as_ref().map(|tiling| tiling.pinpoints.clone()).unwrap_or_default(),
            },
            edge: crop.map_or(height, |(height, _)| height),
            resize: self.resize,
        };
        Ok(Self { resize: Some(Size::Exact { height, width }), tiling: Some(tiling), ..self })
    }
}

/// The fields of the config; a null is the same as an absent field.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &str, expected: &str) -> ConfigError {
        wrong(field, self.get(field).unwrap_or(&Value::Null), expected)
    }

    /// The class that the config names, if it names one.
    fn kind(&self) -> Result<Option<ProcessorKind>, ConfigError> {
        // A config that names a processor names it in the first of these; the second is its older spelling, often left behind.
        for field in ["image_processor_type", "feature_extractor_type"] {
            match self.get(field) {
                None => {}
                Some(Value::String(name)) => match ProcessorKind::named(name) {
                    Some(kind) => return Ok(Some(kind)),
                    None => return Err(ConfigError::OtherProcessor { field, found: name.clone() }),
                },
                Some(_) => return Err(self.wrong(field, "a name")),
            }
        }
        Ok(None)
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(field, "true or false")),
        }
    }

    fn number(&self, field: &str) -> Result<Option<f64>, ConfigError> {
        self.get(field).map(|value| finite(value).ok_or_else(|| self.wrong(field, "a number"))).transpose()
    }

    fn filter(&self, field: &str) -> Result<Option<Filter>, ConfigError> {
        let parse = |value: &Value| value.as_u64().and_then(Filter::from_number);
        self.get(field)
            .map(|value| {
                let expected = "0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming)";
                parse(value).ok_or_else(|| self.wrong(field, expected))
            })
            .transpose()
    }

    /// Three numbers, or one for all three channels.
    fn channels(&self, field: &str) -> Result<Option<[f64; 3]>, ConfigError> {
        let parse = |value: &Value| match value {
            Value::Array(items) => {
                let numbers: Vec<f64> = items.iter().map(finite).collect::<Option<_>>()?;
                numbers.try_into().ok()
            }
            single => finite(single).map(|number| [number; 3]),
        };
        self.get(field).map(|value| parse(value).ok_or_else(|| self.wrong(field, "3 numbers"))).transpose()
    }
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ProcessorConfig {
        ProcessorConfig::from_json(text).expect(text)
    }

    #[test]
    fn old_and_new_spellings_of_clip_are_the_same() {
        let old = r#"{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}"#;
        let new = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
            "do_rescale": true, "do_resize": true, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}}"#;
        assert_eq!(parse(old), ProcessorConfig::clip(224));
        assert_eq!(parse(new), ProcessorConfig::clip(224));
        assert_eq!(parse("{}"), ProcessorConfig::clip(224));
        assert_eq!(parse(r#"{"size": null, "resample": null}"#), ProcessorConfig::clip(224));
    }

    #[test]
    fn sizes_in_every_spelling() {
        let size = |text: &str| parse(&format!(r#"{{"size": {text}}}"#)).resize.expect("resizes");
        assert_eq!(size("336"), Size::ShortestEdge { edge: 336, longest: None });
        assert_eq!(size("[100, 200]"), Size::Exact { height: 100, width: 200 });
        assert_eq!(size(r#"{"height": 384, "width": 200}"#), Size::Exact { height: 384, width: 200 });
        assert_eq!(
            size(r#"{"shortest_edge": 9, "longest_edge": 30}"#),
            Size::ShortestEdge { edge: 9, longest: Some(30) }
        );
        assert_eq!(size(r#"{"max_height": 9, "max_width": 30}"#), Size::Within { height: 9, width: 30 });
        assert_eq!(
            parse(r#"{"size": 9, "default_to_square": true}"#).resize,
            Some(Size::Exact { height: 9, width: 9 })
        );
        assert_eq!(
            parse(r#"{"use_square_size": true}"#).resize,
            Some(Size::Exact { height: 224, width: 224 })
        );
    }

    #[test]
    fn switched_off_steps_are_left_out() {
        let config = parse(
            r#"{"do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false, "size": 7}"#,
        );
        assert_eq!((config.resize, config.crop, config.rescale, config.normalize), (None, None, None, None));
    }

    #[test]
    fn mean_may_be_one_number() {
        let normalize =
            parse(r#"{"image_mean": 0.5, "image_std": [0.5, 0.25, 1]}"#).normalize.expect("normalizes");
        assert_eq!(normalize, Normalize { mean: [0.5; 3], std: [0.5, 0.25, 1.0] });
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, name) in [
            (r#"{"do_convert_rgb": false}"#, "do_convert_rgb"),
            (r#"{"do_pad": true, "pad_size": {"height": 300, "width": 300}}"#, "do_pad"),
            (r#"{"do_resize": 1}"#, "do_resize"),
            (r#"{"resample": 6}"#, "resample"),
            (r#"{"resample": "bicubic"}"#, "resample"),
            (r#"{"size": {"longest_edge": 300}}"#, "size"),
            (r#"{"size": {"shortest_edge": 0}}"#, "size.shortest_edge"),
            (r#"{"size": {"shortest_edge": 224.5}}"#, "size.shortest_edge"),
            (r#"{"size": {"shortest_edge": 224, "height": 3}}"#, "size"),
            (r#"{"size": -1}"#, "size"),
            (r#"{"crop_size": {"shortest_edge": 224}}"#, "crop_size"),
            (r#"{"crop_size": "224"}"#, "crop_size"),
            (r#"{"image_mean": [0.5, 0.5]}"#, "image_mean"),
            (r#"{"image_std": [0.5, 0.5, "x"]}"#, "image_std"),
            (r#"{"image_std": [0.5, 0.5, 0]}"#, "image_std"),
            (r#"{"rescale_factor": "1/255"}"#, "rescale_factor"),
            (r#"{"image_processor_type": "Siglip2ImageProcessor"}"#, "Siglip2ImageProcessor"),
            (r#"{"image_processor_type": "SiglipImageProcessor", "do_center_crop": true}"#, "crop_size"),
            (r#"{"feature_extractor_type": "ViTFeatureExtractor"}"#, "ViTFeatureExtractor"),
            (r#"{"image_processor_type": 3}"#, "image_processor_type"),
            ("[1]", "JSON object"),
            ("{", "JSON object"),
        ] {
            let error = ProcessorConfig::from_json(text).expect_err(text).to_string();
            assert!(error.contains(name), "{text}: {error}");
        }
    }
}
