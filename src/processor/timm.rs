//! `pretrained_cfg` of a timm `config.json`: what `create_transform(**resolve_data_config(pretrained_cfg))` does.

use serde_json::{Map, Value};

use pillow_exact::Filter;

use super::{
    backend::Backend,
    config::{Normalize, ProcessorConfig},
    error::{ConfigError, wrong},
    fields::Fields,
    size::{MAX_EDGE, Size, square_or_pair},
};

/// Reads the root of a `config.json` that names an `architecture`.
pub(super) fn config(root: &Map<String, Value>) -> Result<ProcessorConfig, ConfigError> {
    let empty = Map::new();
    let section = |name: &str| root.get(name).and_then(Value::as_object);
    // Older files have its fields at the root.
    let fields = Fields::without_nulls(section("pretrained_cfg").unwrap_or(root));
    let arguments = Fields::without_nulls(section("model_args").unwrap_or(&empty));
    let (height, width) = input_size(&fields, &arguments)?;
    let crop_pct = fields.number("crop_pct")?.filter(|&share| share != 0.0).unwrap_or(0.875);
    let scaled = |edge: u32| match (f64::from(edge) / crop_pct).floor() {
        scaled if (1.0..=MAX_EDGE as f64).contains(&scaled) => Ok(scaled as u32),
        _ => Err(fields.wrong("crop_pct", "a share of the resized picture")),
    };
    let (scaled_height, scaled_width) = (scaled(height)?, scaled(width)?);
    let mean = fields.channels("mean")?.unwrap_or([0.485, 0.456, 0.406]);
    let std = fields.deviations("std")?.unwrap_or([0.229, 0.224, 0.225]);
    let resample = match fields.word("interpolation")?.filter(|word| !word.is_empty()) {
        None => Filter::Bicubic,
        Some(word) => {
            (0..6).filter_map(Filter::from_number).find(|filter| filter.name() == word).ok_or_else(|| {
                fields.wrong("interpolation", "nearest, lanczos, bilinear, bicubic, box or hamming")
            })?
        }
    };
    let keep = |longest| Size::KeepRatio { height: scaled_height, width: scaled_width, longest };
    let (resize, fill) = match fields.word("crop_mode")?.filter(|word| !word.is_empty()) {
        None | Some("center") if scaled_height == scaled_width => {
            (Size::ShortestEdge { edge: scaled_height, longest: None }, [0; 3])
        }
        None | Some("center") => (keep(false), [0; 3]),
        Some("squash") => (Size::Exact { height: scaled_height, width: scaled_width }, [0; 3]),
        // Python's round() of the mean in levels.
        Some("border") => (keep(true), mean.map(|mean| (mean * 255.0).round_ties_even() as u8)),
        Some(_) => return Err(fields.wrong("crop_mode", "center, squash or border")),
    };
    Ok(ProcessorConfig {
        resize: Some(resize),
        resample,
        crop: Some((height, width)),
        fill,
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize { mean, std }),
        rescale_first: false,
        pad: None,
        tiling: None,
        backend: Backend::Transforms,
    })
}

/// Height and width of the output: those of `input_size`, behind the channels, unless the model was made for other ones and takes
/// no others.
fn input_size(pretrained: &Fields, arguments: &Fields) -> Result<(u32, u32), ConfigError> {
    if let Some(size) = arguments.get("img_size")
        && pretrained.flag("fixed_input_size", false)?
    {
        return square_or_pair("img_size", size);
    }
    match pretrained.get("input_size") {
        None => Ok((224, 224)),
        Some(value) => match value.as_array().map(Vec::as_slice) {
            Some([_, height, width]) => {
                square_or_pair("input_size", &Value::Array(vec![height.clone(), width.clone()]))
            }
            _ => Err(wrong("input_size", value, "channels, height and width")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pretrained: &str) -> Result<ProcessorConfig, ConfigError> {
        ProcessorConfig::from_json(&format!(
            r#"{{"architecture": "vit", "pretrained_cfg": {{{pretrained}}}}}"#
        ))
    }

    #[test]
    fn pictures_are_resized_to_more_than_the_crop() {
        let found = parse(r#""input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bilinear""#)
            .expect("a processor");
        assert_eq!(found.resize, Some(Size::ShortestEdge { edge: 248, longest: None }));
        assert_eq!((found.crop, found.resample), (Some((224, 224)), Filter::Bilinear));
        let default = parse(r#""crop_pct": null"#).expect("a processor");
        assert_eq!(default.resize, Some(Size::ShortestEdge { edge: 256, longest: None }));
        let imagenet = ProcessorConfig { backend: Backend::Transforms, ..ProcessorConfig::dinov2() };
        assert_eq!(default, imagenet);
    }

    #[test]
    fn each_way_to_crop() {
        let found = |mode: &str| {
            let text = format!(
                r#""input_size": [3, 30, 30], "crop_pct": 1.0, "crop_mode": "{mode}", "mean": [0.5, 0.1, 1.0]"#
            );
            let found = parse(&text).expect("a processor");
            (found.resize.expect("a size"), found.fill)
        };
        assert_eq!(found("squash"), (Size::Exact { height: 30, width: 30 }, [0; 3]));
        assert_eq!(
            found("border"),
            (Size::KeepRatio { height: 30, width: 30, longest: true }, [128, 26, 255])
        );
    }

    #[test]
    fn a_share_is_the_double_that_python_reads() {
        // With the next double above it, the edge would be 244.
        let found =
            parse(r#""input_size": [3, 224, 224], "crop_pct": 0.9142857142857143"#).expect("a processor");
        assert_eq!(found.resize, Some(Size::ShortestEdge { edge: 245, longest: None }));
    }

    #[test]
    fn a_null_is_an_absent_field() {
        let nulls = r#""input_size": null, "crop_pct": null, "mean": null, "std": null, "interpolation": null, "crop_mode": null"#;
        assert_eq!(parse(nulls).expect("a processor"), parse("").expect("a processor"));
    }

    #[test]
    fn a_fixed_models_own_size_counts() {
        let text = |fixed: bool| {
            format!(
                r#"{{"architecture": "vit", "model_args": {{"img_size": 30}},
                    "pretrained_cfg": {{"input_size": [3, 60, 60], "fixed_input_size": {fixed}}}}}"#
            )
        };
        let crop = |fixed| ProcessorConfig::from_json(&text(fixed)).expect("a processor").crop;
        assert_eq!((crop(true), crop(false)), (Some((30, 30)), Some((60, 60))));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (fields, name) in [
            (r#""crop_mode": "corner""#, "crop_mode"),
            (r#""interpolation": "random""#, "interpolation"),
            (r#""input_size": [224, 224]"#, "input_size"),
            (r#""crop_pct": 1e-9"#, "crop_pct"),
            (r#""crop_pct": -1"#, "crop_pct"),
            (r#""std": [1, 0, 1]"#, "std"),
        ] {
            let error = parse(fields).expect_err(fields).to_string();
            assert!(error.contains(name), "{fields}: {error}");
        }
    }
}
