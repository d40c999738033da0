//! `preprocess_cfg` of an `open_clip_config.json`: what open_clip's `image_transform` does to evaluate.

use serde_json::{Map, Value};

use pillow_exact::Filter;

use super::{
    backend::Backend,
    config::{Normalize, ProcessorConfig},
    error::{ConfigError, wrong},
    fields::Fields,
    size::{Size, square_or_pair},
};

/// Reads the root of an `open_clip_config.json`.
pub(super) fn config(root: &Map<String, Value>) -> Result<ProcessorConfig, ConfigError> {
    let section = |name: &str| root.get(name).and_then(Value::as_object);
    let empty = Map::new();
    let vision = section("model_cfg").and_then(|model| model.get("vision_cfg")).and_then(Value::as_object);
    let fields = Fields::without_nulls(section("preprocess_cfg").unwrap_or(&empty));
    // The tower's size counts, whatever preprocess_cfg says.
    let vision = Fields::without_nulls(vision.unwrap_or(&empty));
    let size = vision.get("image_size").map(|size| square_or_pair("image_size", size));
    let (height, width) = size.transpose()?.unwrap_or((224, 224));
    match fields.word("mode")? {
        None | Some("RGB") => {}
        Some(_) => return Err(fields.wrong("mode", "RGB")),
    }
    let resample = match fields.word("interpolation")? {
        // "random" is of training.
        None | Some("bicubic" | "random") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some(_) => return Err(fields.wrong("interpolation", "bicubic or bilinear")),
    };
    let keep = |longest| Size::KeepRatio { height, width, longest };
    let (resize, resample, crop) = match fields.word("resize_mode")? {
        None | Some("shortest") if height == width => {
            (Size::ShortestEdge { edge: height, longest: None }, resample, true)
        }
        // open_clip passes no filter on to this one.
        None | Some("shortest") => (keep(false), Filter::Bicubic, true),
        Some("longest") => (keep(true), resample, true),
        Some("squash") => (Size::Exact { height, width }, resample, false),
        Some(_) => return Err(fields.wrong("resize_mode", "shortest, longest or squash")),
    };
    let fill = match (fields.word("resize_mode")?, fields.get("fill_color")) {
        (Some("longest"), Some(value)) => match value.as_u64() {
            Some(level @ 0..=255) => [level as u8; 3],
            _ => return Err(wrong("fill_color", value, "a level from 0 to 255")),
        },
        _ => [0; 3],
    };
    let default = Normalize::default();
    Ok(ProcessorConfig {
        resize: Some(resize),
        resample,
        crop: crop.then_some((height, width)),
        fill,
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize {
            mean: fields.channels("mean")?.unwrap_or(default.mean),
            std: fields.deviations("std")?.unwrap_or(default.std),
        }),
        rescale_first: false,
        pad: None,
        tiling: None,
        backend: Backend::Transforms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(preprocess: &str, image_size: &str) -> Result<ProcessorConfig, ConfigError> {
        let text = format!(
            r#"{{"model_cfg": {{"vision_cfg": {{"image_size": {image_size}}}}}, "preprocess_cfg": {{{preprocess}}}}}"#
        );
        ProcessorConfig::from_json(&text)
    }

    #[test]
    fn the_size_is_the_towers() {
        let found = parse(r#""size": 99, "mean": [0.5, 0.5, 0.5], "std": 0.5"#, "336").expect("a processor");
        let want = ProcessorConfig { backend: Backend::Transforms, ..ProcessorConfig::clip(336) };
        let normalize = Some(Normalize { mean: [0.5; 3], std: [0.5; 3] });
        assert_eq!(found, ProcessorConfig { normalize, ..want.clone() });
        assert_eq!(parse("", "336").expect("a processor"), want);
        let nulls =
            r#""mean": null, "std": null, "interpolation": null, "resize_mode": null, "fill_color": null"#;
        assert_eq!(parse(nulls, "336").expect("a processor"), want);
    }

    #[test]
    fn each_way_to_resize() {
        let found = |fields: &str, size: &str| {
            let found = parse(fields, size).expect("a processor");
            (found.resize.expect("a size"), found.resample, found.crop)
        };
        let squash = Size::Exact { height: 30, width: 30 };
        let fields = r#""resize_mode": "squash", "interpolation": "bilinear""#;
        assert_eq!(found(fields, "30"), (squash, Filter::Bilinear, None));
        let longest = Size::KeepRatio { height: 30, width: 30, longest: true };
        assert_eq!(found(r#""resize_mode": "longest""#, "30"), (longest, Filter::Bicubic, Some((30, 30))));
        let wide = Size::KeepRatio { height: 30, width: 40, longest: false };
        assert_eq!(
            found(r#""interpolation": "bilinear""#, "[30, 40]"),
            (wide, Filter::Bicubic, Some((30, 40)))
        );
        let filled = parse(r#""resize_mode": "longest", "fill_color": 7"#, "30").expect("a processor");
        assert_eq!(filled.fill, [7; 3]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (fields, name) in [
            (r#""resize_mode": "crop""#, "resize_mode"),
            (r#""interpolation": "nearest""#, "interpolation"),
            (r#""mode": "L""#, "mode"),
            (r#""resize_mode": "longest", "fill_color": 256"#, "fill_color"),
            (r#""std": [0.5, 0.0, 0.5]"#, "std"),
            (r#""mean": [0.5]"#, "mean"),
        ] {
            let error = parse(fields, "30").expect_err(fields).to_string();
            assert!(error.contains(name), "{fields}: {error}");
        }
    }
}
