//! What a config's `do_pad` asks for.

use super::error::ConfigError;
use super::fields::Fields;
use super::fit::pad_colour;
use super::kind::ProcessorKind;

impl Fields {
    /// The colour around a picture that is centred on a square; none where it is not.
    pub(super) fn pad(&self, kind: ProcessorKind, mean: [f64; 3]) -> Result<Option<[u8; 3]>, ConfigError> {
        use ProcessorKind::{Bit, Clip, Llava, Siglip};
        if !self.flag("do_pad", false)? {
            return Ok(None);
        }
        match kind {
            Llava => self.canvas_colour(mean).map(Some),
            // Without a size it makes the pictures of a batch equal, and does nothing to a single one.
            Clip | Siglip | Bit if self.get("pad_size").is_some_and(|size| !size.is_null()) => {
                Err(self.wrong("pad_size", "absent where do_pad is true"))
            }
            // The others ignore it, or fill up a batch of tiles with it, and none of their pixels.
            _ => Ok(None),
        }
    }

    /// The mean's colour, where both backends take it for one: what does not fit into a byte raises in one and wraps in the other.
    fn canvas_colour(&self, default: [f64; 3]) -> Result<[u8; 3], ConfigError> {
        let mean = self.channels("image_mean")?.unwrap_or(default);
        let is_colour = mean.iter().all(|mean| (0..=255).contains(&((mean * 255.0) as i64)));
        if !is_colour || self.get("image_mean").is_some_and(|mean| !mean.is_array()) {
            return Err(self.wrong("image_mean", "3 numbers from 0 to 1 where do_pad is true"));
        }
        Ok(pad_colour(mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::ProcessorConfig;

    fn parse(class: &str, fields: &str) -> Result<ProcessorConfig, ConfigError> {
        ProcessorConfig::from_json(&format!(r#"{{"image_processor_type": "{class}ImageProcessor"{fields}}}"#))
    }

    #[test]
    fn a_single_picture_is_not_padded_to_those_of_its_batch() {
        for class in [
            "CLIP",
            "Siglip",
            "Bit",
            "DINOv3ViT",
            "Siglip2",
            "Gemma3",
            "GotOcr2",
            "LlavaNext",
            "LlavaOnevision",
        ] {
            for fields in [r#", "do_pad": true"#, r#", "do_pad": true, "pad_size": null"#] {
                let found = parse(class, fields).expect(class);
                assert_eq!(found, parse(class, "").expect(class), "{class}{fields}");
            }
        }
    }

    #[test]
    fn a_size_to_pad_to_is_refused_where_it_counts() {
        let fields = r#", "do_pad": true, "pad_size": {"height": 300, "width": 300}"#;
        for class in ["CLIP", "Siglip", "Bit"] {
            let error = parse(class, fields).expect_err(class).to_string();
            assert!(error.starts_with("pad_size is {"), "{class}: {error}");
        }
        for class in ["DINOv3ViT", "Siglip2", "Gemma3", "GotOcr2", "LlavaNext"] {
            assert_eq!(parse(class, fields).expect(class), parse(class, "").expect(class), "{class}");
        }
        parse("CLIP", r#", "pad_size": 300"#).expect("not in use");
    }

    #[test]
    fn llava_pads_with_a_colour_alone() {
        let pad = |mean: &str| {
            let fields = format!(r#", "do_pad": true, "do_normalize": false{mean}"#);
            parse("Llava", &fields).map(|config| config.pad)
        };
        assert_eq!(pad("").expect("a colour"), Some([122, 116, 104]));
        assert_eq!(pad(r#", "image_mean": [1.003, -0.003, 0.5]"#).expect("a colour"), Some([255, 0, 127]));
        for mean in ["0.5", "[-0.1, 1.2, 0.5]", "[123.0, 116.0, 103.0]", "null"] {
            let error = pad(&format!(r#", "image_mean": {mean}"#)).expect_err(mean).to_string();
            assert!(error.starts_with("image_mean is "), "{mean}: {error}");
        }
        assert_eq!(parse("Llava", r#", "do_pad": null, "image_mean": 0.5"#).expect("unpadded").pad, None);
    }
}
