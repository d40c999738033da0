//! Pictures of odd sizes through processors of odd settings, on both backends.

use clip_features::processor::{Backend, Filter, Fit, Processor, ProcessorConfig, Size};
use image::RgbImage;

/// Bytes of the settings that stand before the pixels.
const SETTINGS: usize = 14;

/// The longest edge of picture or output. Those of more pixels than Pillow opens are refused, and take long to make.
const LONGEST: u16 = 400;

pub fn run(data: &[u8]) {
    let Some((&settings, pixels)) = data.split_first_chunk::<SETTINGS>() else { return };
    let word = |index: usize| u32::from(u16::from_le_bytes([settings[index], settings[index + 1]]) % LONGEST);
    let (width, height, a, b) = (word(0), word(2), word(4), word(6));
    // Some pictures are a line.
    let (width, height) = match settings[8] % 8 {
        0 => (width * 50, 1),
        1 => (1, height * 50),
        _ => (width, height),
    };
    let filter = Filter::from_number(u64::from(settings[9] % 6)).expect("one of six");
    let config = ProcessorConfig {
        resize: match settings[10] % 5 {
            0 => None,
            1 => Some(Size::Exact { height: a, width: b }),
            2 => Some(Size::Within { height: a, width: b }),
            3 => Some(Size::ShortestEdge { edge: a, longest: Some(b) }),
            _ => Some(Size::ShortestEdge { edge: a, longest: None }),
        },
        resample: filter,
        crop: (settings[11] % 2 == 0).then(|| (u32::from(settings[12]), u32::from(settings[13]))),
        ..ProcessorConfig::clip(224)
    };
    let backend = if settings[8] & 16 == 0 { Backend::Pil } else { Backend::Torchvision };
    let fit = [Fit::Crop, Fit::Pad, Fit::Squash][usize::from(settings[8] >> 6) % 3];
    let Ok(config) = config.fitted(fit, None).and_then(|config| config.on(backend)) else { return };
    let processor = Processor::new(config);
    let size = width as usize * height as usize * 3;
    // The bytes again and again, however few there are.
    let rgb: Vec<u8> = match pixels {
        [] => vec![0; size],
        pixels => pixels.iter().copied().cycle().take(size).collect(),
    };
    let rgb = RgbImage::from_raw(width, height, rgb).expect("as many bytes as pixels");
    if let Ok(geometry) = processor.geometry(width, height)
        && u64::from(geometry.output.0) * u64::from(geometry.output.1) > 1 << 20
    {
        return;
    }
    let Ok(values) = processor.process(&rgb) else { return };
    assert_eq!(values.as_slice().len(), 3 * values.height() * values.width());
    assert!(values.as_slice().iter().all(|value| value.is_finite()));
    if let Some(size) = processor.output_size() {
        assert_eq!((values.height(), values.width()), (size.0 as usize, size.1 as usize));
    }
}
