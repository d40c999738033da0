//! Every family's image processor, and every fit, on every picture: the reference's bytes.

mod support;

use std::collections::BTreeMap;

use clip_features::processor::{Backend, Filter, Fit, ImageSize, Patches, Processor, ProcessorConfig, Size};
use pillow_exact::{Alpha, DecodeOptions, decode};
use sha2::{Digest, Sha256};
use support::fixture;

/// The processor of a name in `processors.json`, and how its pictures are decoded.
fn variant(name: &str) -> (ProcessorConfig, Alpha) {
    if let Some(name) = name.strip_prefix("torchvision/") {
        let (config, alpha) = variant(name);
        return (config.on(Backend::Torchvision).unwrap(), alpha);
    }
    if let Some(name) = name.strip_suffix("/224x336") {
        let (config, alpha) = variant(name);
        return (config.at(ImageSize::Exact { height: 224, width: 336 }), alpha);
    }
    if let Some(name) = name.strip_suffix("/keep") {
        let (config, alpha) = variant(name);
        return (config.fitted(Fit::Keep, Some(14)).unwrap(), alpha);
    }
    let clip = ProcessorConfig::clip(224);
    let (fit, family) = match name.split_once('/') {
        // LLaVA drops transparency.
        Some(("pad", family)) => (Fit::Pad, family),
        Some(("squash", family)) => (Fit::Squash, family),
        _ => (Fit::Auto, name),
    };
    let config = match family {
        "clip" => clip,
        "unrescaled" => ProcessorConfig { rescale: None, ..clip },
        "unnormalized" => ProcessorConfig { normalize: None, ..clip },
        "unresized" => ProcessorConfig { resize: None, ..clip },
        "nearest" => ProcessorConfig { resample: Filter::Nearest, ..clip },
        "lanczos" => ProcessorConfig { resample: Filter::Lanczos, ..clip },
        "bilinear" => ProcessorConfig { resample: Filter::Bilinear, ..clip },
        "siglip" => ProcessorConfig::siglip(224),
        "dinov2" => ProcessorConfig::dinov2(),
        "dinov3" => ProcessorConfig::dinov3(224),
        "dinov3-bicubic" => {
            let exact = ImageSize::Exact { height: 256, width: 192 };
            ProcessorConfig { resample: Filter::Bicubic, ..ProcessorConfig::dinov3(224).at(exact) }
        }
        "dinov3-nearest" => ProcessorConfig { resample: Filter::Nearest, ..ProcessorConfig::dinov3(224) },
        "dinov3-crop" => ProcessorConfig {
            resize: Some(Size::ShortestEdge { edge: 256, longest: None }),
            crop: Some((224, 280)),
            ..ProcessorConfig::dinov3(224)
        },
        "naflex" => ProcessorConfig::siglip2(16),
        "naflex-14-100" => {
            let config = ProcessorConfig::siglip2(14).in_patches(100).unwrap();
            ProcessorConfig { resample: Filter::Bicubic, ..config }
        }
        "siglip2" => {
            let text = r#"{"image_processor_type": "SiglipImageProcessor", "resample": 2,
                "size": {"height": 256, "width": 256}}"#;
            ProcessorConfig::from_json(text).unwrap()
        }
        other => panic!("{other}"),
    };
    (config.fitted(fit, None).unwrap(), if fit == Fit::Pad { Alpha::Drop } else { Alpha::White })
}

/// The SHA-256 of a picture's pixel values.
fn digest(processor: &Processor, rgb: &image::RgbImage) -> String {
    let mut hasher = Sha256::new();
    let values = processor.process(rgb).unwrap();
    // NaFlex's are patches, and as many as there may be.
    let values = match processor.config().patches() {
        None => values.as_slice().to_vec(),
        Some(Patches { patch_size, max_num_patches }) => {
            let mut patches = values.to_patches(patch_size);
            patches.resize(3 * patch_size * patch_size * max_num_patches, 0.0);
            patches
        }
    };
    values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The transforms of open_clip and timm, on pictures that Pillow's `convert("RGB")` has made RGB.
#[test]
fn every_transform_of_other_libraries_gives_their_bytes() {
    #[derive(serde::Deserialize)]
    struct Transform {
        config: serde_json::Value,
        pictures: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(fixture("golden/transforms.json")).unwrap();
    let golden: BTreeMap<String, Transform> = serde_json::from_str(&text).unwrap();
    assert_eq!(golden.len(), 10);
    let options = DecodeOptions { alpha: Alpha::Drop, ..DecodeOptions::default() };
    for (name, Transform { config, pictures }) in golden {
        let processor = Processor::new(ProcessorConfig::from_json(&config.to_string()).unwrap());
        assert!(pictures.len() > 100);
        for (picture, expected) in pictures {
            let bytes = std::fs::read(fixture("images").join(&picture)).unwrap();
            let rgb = decode(&bytes, &options).unwrap_or_else(|error| panic!("{picture}: {error}")).rgb;
            assert_eq!(digest(&processor, &rgb), expected, "{name}: {picture}");
        }
    }
}

#[test]
fn every_processor_and_fit_gives_the_references_bytes() {
    let text = std::fs::read_to_string(fixture("golden/processors.json")).unwrap();
    let golden: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text).unwrap();
    assert_eq!(golden.len(), 34);
    for (name, pictures) in golden {
        let (config, alpha) = variant(&name);
        let processor = Processor::new(config);
        let options = DecodeOptions { alpha, ..DecodeOptions::default() };
        assert!(pictures.len() > 100);
        for (picture, expected) in pictures {
            let bytes = std::fs::read(fixture("images").join(&picture)).unwrap();
            let rgb = decode(&bytes, &options).unwrap_or_else(|error| panic!("{picture}: {error}")).rgb;
            assert_eq!(digest(&processor, &rgb), expected, "{name}: {picture}");
        }
    }
}
