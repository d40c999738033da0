//! `preprocessor_config.json`, old and new spellings, to settled values.
//!
//! Absent fields take the defaults of the transformers class that the config names (see [`ProcessorKind`]), and a null stands for
//! itself; fields that it ignores are ignored here too; a value that cannot be honoured is refused by the name of its field.

use pillow_exact::Filter;
use serde_json::Value;

use super::backend::Backend;
use super::config::{Normalize, ProcessorConfig};
use super::error::ConfigError;
use super::fields::Fields;
use super::kind::ProcessorKind;
use super::size::{Size, crop_size, edge, pinpoints, size};
use super::tiles::Tiling;
use super::{open_clip, timm};
use crate::{bounded::excerpt, json};

impl ProcessorConfig {
    /// Parses the text of a `preprocessor_config.json` (or of the object `image_processor` in a `processor_config.json`), of an
    /// `open_clip_config.json`, or of timm's `config.json`.
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
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ConfigError::Json(json::reason(text.as_bytes(), &error)))?;
        match value {
            Value::Object(object) if object.contains_key("model_cfg") => open_clip::config(&object),
            Value::Object(object) if object.contains_key("architecture") => timm::config(&object),
            Value::Object(object) => Self::from_object(&Fields(object), unnamed),
            other => Err(ConfigError::Json(format!("not a JSON object: {}", excerpt(&other.to_string())))),
        }
    }

    fn from_object(fields: &Fields, unnamed: ProcessorKind) -> Result<Self, ConfigError> {
        let kind = fields.kind()?.unwrap_or(unnamed);
        let default = kind.defaults();
        match fields.get("do_convert_rgb") {
            // DINOv3's checkpoints have a null. Pictures in RGB are the same with it, and the others are nothing that a tower sees.
            None | Some(Value::Null | Value::Bool(true)) => {}
            Some(_) => return Err(fields.wrong("do_convert_rgb", "true (the towers see RGB)")),
        }
        if fields.flag("do_pan_and_scan", false)? {
            return Err(fields.wrong("do_pan_and_scan", "false"));
        }
        let resize = match default.resize {
            // This class knows no other sizes.
            Some(Size::MaxNumPatches { patch_size, max_num_patches }) => {
                Some(fields.patches(patch_size, max_num_patches)?)
            }
            _ => fields.resize(default.resize, kind)?,
        };
        let normalize = default.normalize.unwrap_or_default();
        let settings = Self {
            resize,
            resample: match fields.get("resample") {
                // NaFlex's class does not ask for a filter, nor another that only resizes to cut tiles: without one it is bilinear.
                Some(Value::Null) if resize.is_none() || kind == ProcessorKind::Siglip2 => Filter::Bilinear,
                _ => fields.filter("resample")?.unwrap_or(default.resample),
            },
            // The size of a crop is asked for even where nothing is cropped.
            crop: fields.crop(default.crop)?.filter(|_| kind.crops()),
            rescale: if fields.flag("do_rescale", true)? {
                fields.number("rescale_factor")?.or(default.rescale)
            } else {
                None
            },
            normalize: if fields.flag("do_normalize", true)? {
                Some(Normalize {
                    mean: fields.channels("image_mean")?.unwrap_or(normalize.mean),
                    std: fields.deviations("image_std")?.unwrap_or(normalize.std),
                })
            } else {
                None
            },
            pad: fields.pad(kind, normalize.mean)?,
            fill: [0; 3],
            tiling: None,
            rescale_first: default.rescale_first,
            backend: Backend::Pil,
        };
        if kind.cuts_tiles() { settings.cutting_tiles(fields, &default, kind) } else { Ok(settings) }
    }

    /// These settings for the whole picture, and beside them those of its tiles.
    fn cutting_tiles(
        self,
        fields: &Fields,
        default: &Self,
        kind: ProcessorKind,
    ) -> Result<Self, ConfigError> {
        let size = fields.size(kind)?.or(default.resize);
        let Some(size) = size else { return Err(fields.wrong("size", "given")) };
        let (height, width) = match size {
            Size::ShortestEdge { edge, longest: None } => (edge, edge),
            Size::Exact { height, width } => (height, width),
            _ => return Err(fields.wrong("size", "a number, shortest_edge, or height and width")),
        };
        // The crop's size counts whether or not it is cropped to.
        let crop = match fields.get("crop_size") {
            None => default.crop,
            Some(Value::Null) => None,
            Some(value) => Some(crop_size(value)?),
        };
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

impl Fields {
    fn resize(&self, default: Option<Size>, kind: ProcessorKind) -> Result<Option<Size>, ConfigError> {
        if !self.flag("do_resize", true)? {
            return Ok(None);
        }
        Ok(self.size(kind)?.or(default))
    }

    /// The config's own size.
    fn size(&self, kind: ProcessorKind) -> Result<Option<Size>, ConfigError> {
        let square = self.flag("default_to_square", kind.defaults_to_square())?;
        if kind == ProcessorKind::Clip && self.flag("use_square_size", false)? {
            return Ok(Some(Size::Exact { height: 224, width: 224 }));
        }
        self.get("size").map(|value| size(value, square)).transpose()
    }

    fn crop(&self, default: Option<(u32, u32)>) -> Result<Option<(u32, u32)>, ConfigError> {
        if !self.flag("do_center_crop", default.is_some())? {
            return Ok(None);
        }
        let crop = self.get("crop_size").map(crop_size).transpose()?.or(default);
        crop.ok_or_else(|| self.wrong("crop_size", "given where do_center_crop is true")).map(Some)
    }

    fn patches(&self, patch_size: u32, max_num_patches: u32) -> Result<Size, ConfigError> {
        if !self.flag("do_resize", true)? {
            return Err(self.wrong("do_resize", "true (the picture is cut into whole patches)"));
        }
        let number = |field, default| self.get(field).map_or(Ok(default), |value| edge(field, value));
        Ok(Size::MaxNumPatches {
            patch_size: number("patch_size", patch_size)?,
            max_num_patches: number("max_num_patches", max_num_patches)?,
        })
    }
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
        assert_eq!(
            parse(r#"{"image_processor_type": null, "feature_extractor_type": null}"#),
            ProcessorConfig::clip(224)
        );
    }

    #[test]
    fn a_null_switches_a_step_off() {
        let off = ProcessorConfig {
            resize: None,
            crop: None,
            rescale: None,
            normalize: None,
            ..ProcessorConfig::clip(224)
        };
        // What a step that is off would need is not asked for.
        let found = parse(
            r#"{"do_resize": null, "do_center_crop": null, "do_rescale": null, "do_normalize": null, "do_pad": null,
            "size": null, "resample": null, "crop_size": null, "rescale_factor": null, "image_mean": null, "image_std": null}"#,
        );
        assert_eq!(found, ProcessorConfig { resample: Filter::Bilinear, ..off });
        // But pictures are converted to RGB.
        assert_eq!(parse(r#"{"do_convert_rgb": null}"#), ProcessorConfig::clip(224));
        let gemma3 = parse(
            r#"{"image_processor_type": "Gemma3ImageProcessor", "size": 9, "default_to_square": null}"#,
        );
        assert_eq!(gemma3.resize, Some(Size::ShortestEdge { edge: 9, longest: None }));
    }

    #[test]
    fn a_null_is_refused_where_a_step_needs_a_value() {
        for (class, field) in [
            ("CLIP", "size"),
            ("CLIP", "resample"),
            ("CLIP", "crop_size"),
            ("CLIP", "rescale_factor"),
            ("CLIP", "image_mean"),
            ("CLIP", "image_std"),
            ("Siglip", "size"),
            ("DINOv3ViT", "resample"),
            ("Siglip2", "patch_size"),
            ("Siglip2", "max_num_patches"),
            ("LlavaNext", "image_grid_pinpoints"),
        ] {
            let text = format!(r#"{{"image_processor_type": "{class}ImageProcessor", "{field}": null}}"#);
            let error = ProcessorConfig::from_json(&text).expect_err(&text).to_string();
            assert!(error.starts_with(&format!("{field} is null, but must be ")), "{text}: {error}");
        }
        let naflex = r#"{"image_processor_type": "Siglip2ImageProcessor", "resample": null}"#;
        assert_eq!(parse(naflex), ProcessorConfig::siglip2(16));
        // Tiles are as large as the size then.
        let onevision = r#"{"image_processor_type": "LlavaNextImageProcessor", "size": 9, "do_center_crop": false, "crop_size": null}"#;
        assert_eq!(parse(onevision).tiling.expect("tiles").edge, 9);
    }

    #[test]
    fn a_number_is_a_square_for_some_classes() {
        for (class, is_square) in
            [("CLIP", false), ("Siglip", false), ("DINOv3ViT", true), ("Gemma3", true), ("GotOcr2", true)]
        {
            let found =
                parse(&format!(r#"{{"image_processor_type": "{class}ImageProcessor", "size": 364}}"#));
            let square = Size::Exact { height: 364, width: 364 };
            assert_eq!(found.resize == Some(square), is_square, "{class}");
        }
    }

    #[test]
    fn what_a_class_ignores_changes_nothing() {
        let parse =
            |class: &str, fields: &str| parse(&format!(r#"{{"image_processor_type": "{class}"{fields}}}"#));
        for (class, fields) in [
            ("SiglipImageProcessor", r#", "use_square_size": true"#),
            ("BitImageProcessor", r#", "use_square_size": true"#),
            ("Gemma3ImageProcessor", r#", "do_center_crop": true, "crop_size": 100"#),
            ("GotOcr2ImageProcessor", r#", "do_center_crop": true, "crop_size": 100"#),
        ] {
            assert_eq!(parse(class, fields), parse(class, ""), "{class}{fields}");
        }
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
            (r#"{"image_processor_type": "ConvNextImageProcessor"}"#, "ConvNextImageProcessor"),
            (r#"{"image_processor_type": "Siglip2ImageProcessor", "do_resize": false}"#, "do_resize"),
            (r#"{"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 0}"#, "max_num_patches"),
            (r#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": "16"}"#, "patch_size"),
            (r#"{"image_processor_type": "SiglipImageProcessor", "do_center_crop": true}"#, "crop_size"),
            (r#"{"image_processor_type": "Gemma3ImageProcessor", "do_center_crop": true}"#, "crop_size"),
            (r#"{"image_processor_type": "Siglip2ImageProcessor", "do_center_crop": true}"#, "crop_size"),
            (r#"{"feature_extractor_type": "ConvNextFeatureExtractor"}"#, "ConvNextFeatureExtractor"),
            (r#"{"image_processor_type": 3}"#, "image_processor_type"),
            ("[1]", "JSON object"),
            ("{", "not valid JSON"),
        ] {
            let error = ProcessorConfig::from_json(text).expect_err(text).to_string();
            assert!(error.contains(name), "{text}: {error}");
        }
    }
}
