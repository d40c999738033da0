//! Pictures of odd sizes through processors of odd settings, on both backends.

use clip_features::processor::{Backend, Filter, Fit, Processor, ProcessorConfig, Size};
use image::RgbImage;

/// Bytes of the settings that stand before the pixels.
const SETTINGS: usize = 14;

/// The longest edge of a picture, and of an output that is asked for: longer than any filter's padded row of weights, so that all of
/// the code is reached, and short, so that a picture takes a fraction of a millisecond.
const LONGEST: u16 = 72;

/// How many times as long a line is. A canvas of its shape is made around it, whose pixels cost as much as those of any picture; with a
/// longer line an input would take seconds.
const LINE: u32 = 4;

pub fn run(data: &[u8]) {
    let Some((&settings, pixels)) = data.split_first_chunk::<SETTINGS>() else { return };
    let word = |index: usize| u32::from(u16::from_le_bytes([settings[index], settings[index + 1]]) % LONGEST);
    let (width, height, a, b) = (word(0), word(2), word(4), word(6));
    // Some pictures are a line.
    let (width, height) = match settings[8] % 8 {
        0 => (width * LINE, 1),
        1 => (1, height * LINE),
        _ => (width, height),
    };
    let filter = Filter::from_number(u64::from(settings[9] % 6)).expect("one of six");
    let patch = u32::from(settings[13]) % 16;
    let size = match settings[10] % 9 {
        0 => None,
        1 => Some(Size::Exact { height: a, width: b }),
        2 => Some(Size::Within { height: a, width: b }),
        3 => Some(Size::ShortestEdge { edge: a, longest: Some(b) }),
        4 => Some(Size::ShortestEdge { edge: a, longest: None }),
        5 => Some(Size::Cover { height: a, width: b }),
        6 => Some(Size::KeepRatio { height: a, width: b, longest: settings[12] % 2 == 0 }),
        7 => Some(Size::Patches { edge: a, patch }),
        _ => Some(Size::MaxNumPatches { patch_size: patch, max_num_patches: b }),
    };
    let crop = (settings[11] % 2 == 0).then(|| (u32::from(settings[12]), u32::from(settings[13])));
    // DINOv3's floats know two filters.
    let config = match (settings[8] & 8, filter) {
        (8, Filter::Bilinear | Filter::Bicubic) => ProcessorConfig::dinov3(224),
        _ => ProcessorConfig::clip(224),
    };
    let config = ProcessorConfig { resize: size, resample: filter, crop, ..config };
    let backend =
        [Backend::Pil, Backend::Torchvision, Backend::Transforms][usize::from(settings[8] >> 4) % 4 % 3];
    let fit = Fit::ALL[usize::from(settings[8] >> 6)];
    let Ok(config) = config.fitted(fit, Some(patch)).and_then(|config| config.on(backend)) else { return };
    let processor = Processor::new(config);
    let size = width as usize * height as usize * 3;
    // The bytes again and again, however few there are.
    let mut rgb = if pixels.is_empty() { vec![0] } else { pixels.to_vec() };
    rgb = rgb.repeat(size.div_ceil(rgb.len()));
    rgb.truncate(size);
    let rgb = RgbImage::from_raw(width, height, rgb).expect("as many bytes as pixels");
    if let Ok(geometry) = processor.geometry(width, height)
        && u64::from(geometry.output.0) * u64::from(geometry.output.1) > 1 << 16
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
