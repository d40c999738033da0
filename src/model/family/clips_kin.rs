//! Models whose vision tower is CLIP's, under names of their own.
//!
//! In transformers each has its own classes, which are copies of CLIP's: the same fields with the same defaults, the same layers in
//! the same order. What differs is the rest of the model, and what is said here.

use serde_json::Value;

use super::clip;
use crate::model::config::{Family, VisionConfig};

/// A kind of model with CLIP's tower.
pub(super) struct Kin {
    family: Family,
    /// The `model_type` of a whole model.
    pub(super) model_type: &'static str,
    /// That of its tower, inside and alone.
    pub(super) tower: &'static str,
    /// Width of `image_embeds` where the whole model's config says none.
    projection_dim: usize,
    /// Whether the class has `interpolate_pos_encoding` true by default.
    interpolates: bool,
}

/// All that are read.
pub(super) const ALL: [Kin; 4] = [
    Kin {
        family: Family::MetaClip2,
        model_type: "metaclip_2",
        tower: "metaclip_2_vision_model",
        projection_dim: 512,
        interpolates: false,
    },
    Kin {
        family: Family::ChineseClip,
        model_type: "chinese_clip",
        tower: "chinese_clip_vision_model",
        projection_dim: 512,
        interpolates: false,
    },
    Kin {
        family: Family::AltClip,
        model_type: "altclip",
        tower: "altclip_vision_model",
        projection_dim: 768,
        interpolates: false,
    },
    Kin {
        family: Family::ClipSeg,
        model_type: "clipseg",
        tower: "clipseg_vision_model",
        projection_dim: 512,
        // Its pictures are of 352 pixels, and its positions those of a CLIP of 224.
        interpolates: true,
    },
];

impl Kin {
    /// The kind of a whole model's `model_type`.
    pub(super) fn whole(model_type: &str) -> Option<&'static Self> {
        ALL.iter().find(|kin| kin.model_type == model_type)
    }

    /// The kind of the `model_type` of a tower alone.
    pub(super) fn alone(model_type: &str) -> Option<&'static Self> {
        ALL.iter().find(|kin| kin.tower == model_type)
    }

    /// Reads the config of a whole model, in which `tower` are the fields of its tower.
    pub(super) fn config_of_whole(&self, root: &Value, tower: Value) -> Result<VisionConfig, String> {
        self.config(clip::projecting(root, tower, self.projection_dim)?)
    }

    /// Reads the config of a tower.
    pub(super) fn config(&self, fields: Value) -> Result<VisionConfig, String> {
        let config = clip::config(fields)?;
        Ok(VisionConfig { family: self.family, interpolate_pos_encoding: self.interpolates, ..config })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::read::read, *};

    #[test]
    fn where_the_config_is_silent_the_classes_own_settings_hold() {
        for (model_type, width, interpolates) in [
            ("metaclip_2", 512, false),
            ("chinese_clip", 512, false),
            ("altclip", 768, false),
            ("clipseg", 512, true),
        ] {
            let whole = read(&format!(r#"{{"model_type": "{model_type}"}}"#));
            let alone = read(&format!(r#"{{"model_type": "{model_type}_vision_model"}}"#));
            assert_eq!(
                (whole.projection_dim, alone.projection_dim),
                (Some(width), Some(512)),
                "{model_type}"
            );
            assert_eq!(whole.interpolate_pos_encoding, interpolates, "{model_type}");
            assert_eq!(alone, VisionConfig { projection_dim: Some(512), ..whole.clone() });
            let clip = VisionConfig { family: Family::Clip, interpolate_pos_encoding: false, ..alone };
            assert_eq!(clip, read(r#"{"model_type": "clip_vision_model"}"#), "{model_type}");
            assert_eq!(whole.traits(), clip.traits(), "{model_type}");
            let described: Value = serde_json::from_str(&whole.describe()).unwrap();
            assert_eq!(described["family"], model_type);
        }
    }

    #[test]
    fn the_projection_is_as_wide_as_the_outer_config_says() {
        let text =
            r#"{"model_type": "altclip", "projection_dim": 20, "vision_config": {"projection_dim": 30}}"#;
        assert_eq!(read(text).projection_dim, Some(20));
    }

    #[test]
    fn another_models_tower_inside_is_refused() {
        let text = r#"{"model_type": "altclip", "vision_config": {"model_type": "metaclip_2_vision_model"}}"#;
        let reason = VisionConfig::from_json(text).unwrap_err();
        assert!(reason.contains("expected \"altclip_vision_model\""), "{reason}");
    }
}
