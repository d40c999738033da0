//! The transformers classes whose configs are read, and the defaults of each.

use pillow_exact::Filter;

use super::backend::Backend;
use super::config::{Normalize, ProcessorConfig};
use super::size::Size;
use super::tiles::Tiling;

/// A transformers class of image processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessorKind {
    /// `CLIPImageProcessor`.
    Clip,
    /// `SiglipImageProcessor`: straight to the square, no crop.
    Siglip,
    /// `Siglip2ImageProcessor`, of NaFlex: the picture's own shape, in at most so many patches.
    Siglip2,
    /// `ViTImageProcessor`, which CLIPSeg's checkpoints name: straight to the square, bilinearly, no crop.
    Vit,
    /// `BitImageProcessor`, which DINOv2's checkpoints name. Its defaults are CLIP's.
    Bit,
    /// `LlavaImageProcessor`: CLIP's, which can centre a picture on a square first.
    Llava,
    /// `LlavaNextImageProcessor`: straight to the square, and tiles beside it.
    LlavaNext,
    /// `LlavaOnevisionImageProcessor`: the same with other defaults.
    LlavaOnevision,
    /// `Gemma3ImageProcessor`: SigLIP's with a bilinear filter.
    Gemma3,
    /// `GotOcr2ImageProcessor`, which Aya Vision's checkpoints name: of the whole picture, straight to the square.
    GotOcr2,
    /// `DINOv3ViTImageProcessor`: pixels are rescaled first, then resized as floats straight to the square. It has torchvision's
    /// backend alone.
    Dinov3,
}

impl ProcessorKind {
    /// The class of a name, whatever its backend.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.strip_suffix("Fast").or_else(|| name.strip_suffix("Pil")).unwrap_or(name) {
            "CLIPImageProcessor" | "CLIPFeatureExtractor" => Some(Self::Clip),
            // A copy of CLIP's, and an older CLIP's with the same arithmetic.
            "ChineseCLIPImageProcessor" | "ChineseCLIPFeatureExtractor" | "VideoLlavaImageProcessor" => {
                Some(Self::Clip)
            }
            "ViTImageProcessor" | "ViTFeatureExtractor" => Some(Self::Vit),
            "SiglipImageProcessor" => Some(Self::Siglip),
            "Siglip2ImageProcessor" => Some(Self::Siglip2),
            "BitImageProcessor" => Some(Self::Bit),
            "LlavaImageProcessor" => Some(Self::Llava),
            "LlavaNextImageProcessor" => Some(Self::LlavaNext),
            "LlavaOnevisionImageProcessor" => Some(Self::LlavaOnevision),
            "Gemma3ImageProcessor" => Some(Self::Gemma3),
            "GotOcr2ImageProcessor" => Some(Self::GotOcr2),
            "DINOv3ViTImageProcessor" => Some(Self::Dinov3),
            _ => None,
        }
    }

    /// Whether a size that is one number is a square's, where the config does not say.
    pub(super) fn defaults_to_square(self) -> bool {
        matches!(self, Self::Vit | Self::Dinov3 | Self::Gemma3 | Self::GotOcr2)
    }

    /// Whether it crops where the config says so.
    pub(super) fn crops(self) -> bool {
        !matches!(self, Self::Siglip2 | Self::Gemma3 | Self::GotOcr2)
    }

    /// Whether it cuts tiles beside the whole picture.
    pub(super) fn cuts_tiles(self) -> bool {
        matches!(self, Self::LlavaNext | Self::LlavaOnevision)
    }

    /// What holds where a config is silent.
    pub(super) fn defaults(self) -> ProcessorConfig {
        match self {
            Self::Clip | Self::Bit | Self::Llava => ProcessorConfig::clip(224),
            Self::LlavaNext => {
                let pinpoints = vec![(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)];
                let resize = Some(Size::ShortestEdge { edge: 224, longest: None });
                let tiling = Some(Tiling { pinpoints, edge: 224, resize });
                ProcessorConfig { tiling, ..ProcessorConfig::clip(224) }
            }
            Self::LlavaOnevision => {
                let edges = || (1..=6).map(|count| 384 * count);
                let pinpoints = edges().flat_map(|height| edges().map(move |width| (height, width)));
                let resize = Some(Size::Exact { height: 384, width: 384 });
                let tiling = Some(Tiling { pinpoints: pinpoints.collect(), edge: 384, resize });
                ProcessorConfig { resize, crop: None, tiling, ..ProcessorConfig::clip(384) }
            }
            Self::GotOcr2 => {
                let resize = Some(Size::Exact { height: 384, width: 384 });
                ProcessorConfig { resize, crop: None, ..ProcessorConfig::clip(384) }
            }
            Self::Siglip => ProcessorConfig::siglip(224),
            Self::Siglip2 => ProcessorConfig::siglip2(16),
            Self::Dinov3 => ProcessorConfig::dinov3(224),
            Self::Vit | Self::Gemma3 => ProcessorConfig::vit(224),
        }
    }
}

impl ProcessorConfig {
    /// SigLIP's: bicubic to exactly `image_size` squared, 1/255, mean and deviation one half.
    pub fn siglip(image_size: u32) -> Self {
        Self {
            resize: Some(Size::Exact { height: image_size, width: image_size }),
            crop: None,
            normalize: Some(Normalize { mean: [0.5; 3], std: [0.5; 3] }),
            ..Self::clip(image_size)
        }
    }

    /// `ViTImageProcessor`'s: SigLIP's with a bilinear filter.
    pub fn vit(image_size: u32) -> Self {
        Self { resample: Filter::Bilinear, ..Self::siglip(image_size) }
    }

    /// SigLIP 2 NaFlex's: bilinear to the picture's own shape in at most 256 patches, 1/255, mean and deviation one half.
    pub fn siglip2(patch_size: u32) -> Self {
        Self {
            resize: Some(Size::MaxNumPatches { patch_size, max_num_patches: 256 }),
            resample: Filter::Bilinear,
            ..Self::siglip(224)
        }
    }

    /// DINOv2's, as its checkpoints write it: the short side to 256, center crop to 224, ImageNet's mean and deviation.
    pub fn dinov2() -> Self {
        Self {
            resize: Some(Size::ShortestEdge { edge: 256, longest: None }),
            normalize: Some(Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }),
            ..Self::clip(224)
        }
    }
}

impl ProcessorConfig {
    /// DINOv3's: 1/255, bilinear as floats to exactly `image_size` squared, ImageNet's mean and deviation.
    pub fn dinov3(image_size: u32) -> Self {
        Self {
            resize: Some(Size::Exact { height: image_size, width: image_size }),
            resample: Filter::Bilinear,
            crop: None,
            rescale_first: true,
            backend: Backend::Torchvision,
            ..Self::dinov2()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_defaults() {
        let parse = |text: &str| ProcessorConfig::from_json(text).expect(text);
        for name in ["SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"] {
            let text = format!(r#"{{"image_processor_type": "{name}"}}"#);
            assert_eq!(parse(&text), ProcessorConfig::siglip(224));
        }
        assert_eq!(parse(r#"{"image_processor_type": "BitImageProcessor"}"#), ProcessorConfig::clip(224));
        let text = r#"{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#;
        assert_eq!(parse(text), ProcessorConfig::dinov2());
        // As facebook/dinov3-vits16-pretrain-lvd1689m has it.
        let text = r#"{"crop_size": null, "default_to_square": true, "do_center_crop": null, "do_convert_rgb": null,
            "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.485, 0.456, 0.406],
            "image_processor_type": "DINOv3ViTImageProcessorFast", "image_std": [0.229, 0.224, 0.225], "resample": 2,
            "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}}"#;
        let dinov3 = ProcessorConfig { backend: Backend::Pil, ..ProcessorConfig::dinov3(224) };
        assert_eq!(parse(text), dinov3);
        assert_eq!(parse(r#"{"image_processor_type": "DINOv3ViTImageProcessor", "size": 224}"#), dinov3);
    }

    #[test]
    fn classes_of_clips_kin_are_clips_and_vits() {
        let parse = |text: &str| ProcessorConfig::from_json(text).expect(text);
        for field in ["image_processor_type", "feature_extractor_type"] {
            let class = if field.starts_with("image") { "ImageProcessor" } else { "FeatureExtractor" };
            let chinese = format!(r#"{{"{field}": "ChineseCLIP{class}"}}"#);
            assert_eq!(parse(&chinese), ProcessorConfig::clip(224));
            // As CLIPSeg's has it: a number is a square's edge.
            let vit = format!(r#"{{"{field}": "ViT{class}", "size": 352}}"#);
            assert_eq!(parse(&vit), ProcessorConfig::vit(352));
        }
    }

    #[test]
    fn naflex_has_a_number_of_patches_for_a_size() {
        let parse = |text: &str| ProcessorConfig::from_json_of(text, ProcessorKind::Siglip2).expect(text);
        assert_eq!(parse("{}"), ProcessorConfig::siglip2(16));
        // A size or a crop means nothing to this class.
        let text = r#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": 14, "max_num_patches": 1024,
            "size": {"height": 7}, "do_center_crop": true, "crop_size": 7}"#;
        let found = parse(text);
        assert_eq!(found.resize, Some(Size::MaxNumPatches { patch_size: 14, max_num_patches: 1024 }));
        assert_eq!((found.crop, found.resample), (None, Filter::Bilinear));
    }

    #[test]
    fn where_the_config_names_no_class_the_model_does() {
        let text = r#"{"size": {"height": 384, "width": 384}}"#;
        let found = ProcessorConfig::from_json_of(text, ProcessorKind::Siglip).expect(text);
        assert_eq!(found, ProcessorConfig::siglip(384));
    }
}
