//! Where the pixels go: from a picture's size to the resized size, the crop, and back.

use pillow_exact::{Filter, Window, reads};

use super::backend::Backend;
use super::config::ProcessorConfig;
use super::fit::{canvas, padding};
use super::patches::size_in_patches;
use super::size::Size;

/// How a picture of one size passes through a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Width and height of the picture, with its padding if it is centred on a canvas.
    pub source: (u32, u32),
    /// Left and top of the picture on that canvas; zero without.
    pub padding: (u32, u32),
    /// Width and height after the resize.
    pub resized: (u32, u32),
    /// Left and top of the output in the resized picture; negative where the output is padded.
    pub origin: (i64, i64),
    /// Width and height of the output.
    pub output: (u32, u32),
}

/// A box in the source picture, in its pixels; it can reach outside of the picture where there is padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceBox {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Bottom edge.
    pub bottom: f64,
}

impl SourceBox {
    /// Left, top, right and bottom.
    pub fn edges(&self) -> [f64; 4] {
        [self.left, self.top, self.right, self.bottom]
    }
}

/// Where the visible part of the resized picture lies in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) top: usize,
    pub(super) left: usize,
}

impl Geometry {
    /// The way of a picture of `width` × `height` through `config`; none if it ends without a pixel or past 32-bit sizes, or passes
    /// through such a size.
    pub(super) fn new(config: &ProcessorConfig, width: u32, height: u32) -> Option<Self> {
        if width == 0 || height == 0 {
            return None;
        }
        let canvas = canvas(config, width, height)?;
        let padding = padding((width, height), canvas);
        let (width, height) = canvas;
        let resized = match config.resize {
            Some(size) => resized_size(size, width, height)?,
            None => (width, height),
        };
        if resized.0 == 0 || resized.1 == 0 {
            return None;
        }
        let output = config.crop.map_or(resized, |(height, width)| (width, height));
        let start = |edge: u32, output: u32| {
            let spare = i64::from(edge) - i64::from(output);
            match config.backend {
                // An output larger than the picture is padded, here with the larger half first, there with the smaller.
                Backend::Pil => spare.div_euclid(2),
                Backend::Torchvision => spare / 2,
                // Python's round() of the half, but for padding, whose smaller half comes first.
                Backend::Transforms if spare > 0 => (spare as f64 / 2.0).round_ties_even() as i64,
                Backend::Transforms => spare / 2,
            }
        };
        let origin = (start(resized.0, output.0), start(resized.1, output.1));
        Some(Self { source: (width, height), padding, resized, origin, output })
    }

    /// The part of the resized picture that the output shows.
    pub(super) fn window(&self) -> Window {
        let span = |origin: i64, output: u32, edge: u32| {
            let clamped = |position: i64| position.clamp(0, i64::from(edge)) as u32;
            clamped(origin)..clamped(origin + i64::from(output))
        };
        Window {
            rows: span(self.origin.1, self.output.1, self.resized.1),
            columns: span(self.origin.0, self.output.0, self.resized.0),
        }
    }

    /// The part of the picture, of `width` × `height`, that the output is made of.
    pub(super) fn reads(&self, filter: Filter, width: u32, height: u32) -> Window {
        let canvas = reads(self.source, self.resized, filter, &self.window());
        let inside = |range: std::ops::Range<u32>, padding: u32, edge: u32| {
            let start = range.start.saturating_sub(padding).min(edge);
            start..range.end.saturating_sub(padding).min(edge).max(start)
        };
        Window {
            rows: inside(canvas.rows, self.padding.1, height),
            columns: inside(canvas.columns, self.padding.0, width),
        }
    }

    pub(super) fn placement(&self) -> Placement {
        Placement { top: (-self.origin.1).max(0) as usize, left: (-self.origin.0).max(0) as usize }
    }

    /// Rows and columns of whole patches in the output.
    pub fn grid(&self, patch_size: usize) -> [usize; 2] {
        [self.output.1 as usize / patch_size, self.output.0 as usize / patch_size]
    }

    /// The box that the whole output shows.
    pub fn crop_box(&self) -> SourceBox {
        self.source_box(0, 0, self.output.0, self.output.1)
    }

    /// The box that whole patches show; what is left at the right and the bottom is less than a patch.
    pub fn grid_box(&self, patch_size: usize) -> SourceBox {
        let [rows, columns] = self.grid(patch_size);
        self.source_box(0, 0, (columns * patch_size) as u32, (rows * patch_size) as u32)
    }

    /// Row and column of the patch that shows a pixel of the source picture; none where no patch does.
    pub fn patch_at(&self, x: u32, y: u32, patch_size: usize) -> Option<(usize, usize)> {
        let place = |position: u32, padding: u32, resized: u32, source: u32, origin: i64| {
            let position = (f64::from(position) + 0.5 + f64::from(padding)) * f64::from(resized);
            (position / f64::from(source) - origin as f64) / patch_size as f64
        };
        let column = place(x, self.padding.0, self.resized.0, self.source.0, self.origin.0);
        let row = place(y, self.padding.1, self.resized.1, self.source.1, self.origin.1);
        let [rows, columns] = self.grid(patch_size);
        let inside = |place: f64, count: usize| place >= 0.0 && place < count as f64;
        (inside(row, rows) && inside(column, columns)).then_some((row as usize, column as usize))
    }

    /// The box of the source picture that the output's pixels from `(left, top)` to `(right, bottom)` show, so that a patch can be
    /// drawn back onto its picture. The whole output is `source_box(0, 0, width, height)`.
    pub fn source_box(&self, left: u32, top: u32, right: u32, bottom: u32) -> SourceBox {
        let x = |position: u32| {
            (i64::from(position) + self.origin.0) as f64 * f64::from(self.source.0)
                / f64::from(self.resized.0)
                - f64::from(self.padding.0)
        };
        let y = |position: u32| {
            (i64::from(position) + self.origin.1) as f64 * f64::from(self.source.1)
                / f64::from(self.resized.1)
                - f64::from(self.padding.1)
        };
        SourceBox { left: x(left), top: y(top), right: x(right), bottom: y(bottom) }
    }
}

/// Width and height after the resize, with the reference's double arithmetic.
fn resized_size(size: Size, width: u32, height: u32) -> Option<(u32, u32)> {
    match size {
        Size::Exact { height, width } => Some((width, height)),
        Size::ShortestEdge { edge, longest: None } => {
            let (short, long) = (width.min(height), width.max(height));
            // int(edge * long / short): the product is exact, the quotient a double, then truncated.
            let new_long = whole((u64::from(edge) * u64::from(long)) as f64 / f64::from(short))?;
            Some(if width <= height { (edge, new_long) } else { (new_long, edge) })
        }
        Size::ShortestEdge { edge, longest: Some(longest) } => {
            bounded_by_longest(edge, longest, width, height)
        }
        Size::Cover { height: least_height, width: least_width } => {
            let (tall, wide) =
                (u64::from(least_height) * u64::from(width), u64::from(least_width) * u64::from(height));
            // As for the shortest edge: one edge is as it is asked for, the other truncated, which leaves it long enough.
            Some(if tall >= wide {
                (whole(tall as f64 / f64::from(height))?, least_height)
            } else {
                (least_width, whole(wide as f64 / f64::from(width))?)
            })
        }
        Size::Patches { edge, patch } => {
            let (short, long) = (width.min(height), width.max(height));
            // DINOv3's notebooks: int(image_size / patch_size) and int(long * image_size / (short * patch_size)) patches.
            let patches =
                (u64::from(long) * u64::from(edge)).checked_div(u64::from(short) * u64::from(patch))?;
            let (short, long) = (edge / patch * patch, whole((patches * u64::from(patch)) as f64)?);
            Some(if width <= height { (short, long) } else { (long, short) })
        }
        Size::KeepRatio { height: target_height, width: target_width, longest } => {
            let ratio_height = f64::from(height) / f64::from(target_height);
            let ratio_width = f64::from(width) / f64::from(target_width);
            let ratio = if longest { ratio_height.max(ratio_width) } else { ratio_height.min(ratio_width) };
            let edge = |edge: u32| whole((f64::from(edge) / ratio).round_ties_even());
            Some((edge(width)?, edge(height)?))
        }
        Size::Within { height: max_height, width: max_width } => {
            let scale =
                (f64::from(max_height) / f64::from(height)).min(f64::from(max_width) / f64::from(width));
            Some((whole(f64::from(width) * scale)?, whole(f64::from(height) * scale)?))
        }
        Size::MaxNumPatches { patch_size, max_num_patches } => {
            size_in_patches(patch_size, max_num_patches, width, height)
        }
    }
}

/// The reference's `get_size_with_aspect_ratio`.
fn bounded_by_longest(edge: u32, longest: u32, width: u32, height: u32) -> Option<(u32, u32)> {
    let (short, long) = (f64::from(width.min(height)), f64::from(width.max(height)));
    let mut edge = f64::from(edge);
    let mut exact = edge;
    if long / short * edge > f64::from(longest) {
        exact = f64::from(longest) * short / long;
        edge = exact.round_ties_even();
    }
    if short == edge {
        Some((width, height))
    } else if width < height {
        Some((whole(edge)?, whole(exact * f64::from(height) / f64::from(width))?))
    } else {
        Some((whole(exact * f64::from(width) / f64::from(height))?, whole(edge)?))
    }
}

/// A positive whole number of pixels, truncated.
fn whole(pixels: f64) -> Option<u32> {
    (1.0..f64::from(i32::MAX)).contains(&pixels).then_some(pixels as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(width: u32, height: u32) -> Geometry {
        Geometry::new(&ProcessorConfig::clip(224), width, height).expect("a geometry")
    }

    #[test]
    fn the_long_side_is_truncated() {
        assert_eq!(clip(640, 427).resized, (335, 224));
        assert_eq!(clip(427, 640).resized, (224, 335));
        assert_eq!(clip(500, 500).resized, (224, 224));
        assert_eq!(clip(3, 500).resized, (224, 37333));
        assert_eq!(clip(640, 427).origin, (55, 0));
        assert_eq!(clip(335, 224).origin, (55, 0));
    }

    #[test]
    fn padding_puts_its_larger_half_first() {
        let mut config = ProcessorConfig::clip(224);
        config.resize = None;
        let geometry = Geometry::new(&config, 101, 300).expect("a geometry");
        assert_eq!(geometry.origin, (-62, 38));
        assert_eq!(geometry.window(), Window { rows: 38..262, columns: 0..101 });
        assert_eq!(geometry.placement(), Placement { top: 0, left: 62 });
    }

    #[test]
    fn torchvision_puts_the_smaller_half_of_the_padding_first() {
        let config = ProcessorConfig { resize: None, ..ProcessorConfig::clip(224) };
        let config = config.on(Backend::Torchvision).expect("it can");
        let geometry = Geometry::new(&config, 101, 301).expect("a geometry");
        assert_eq!(geometry.origin, (-61, 38));
        assert_eq!(geometry.placement(), Placement { top: 0, left: 61 });
    }

    #[test]
    fn sizes_with_a_longest_edge_follow_the_reference() {
        let size = Size::ShortestEdge { edge: 224, longest: Some(300) };
        assert_eq!(resized_size(size, 640, 480), Some((298, 224)));
        assert_eq!(resized_size(size, 1000, 400), Some((300, 120)));
        assert_eq!(resized_size(size, 400, 1000), Some((120, 300)));
        assert_eq!(resized_size(Size::Within { height: 100, width: 300 }, 640, 480), Some((133, 100)));
    }

    #[test]
    fn what_covers_a_size_is_no_smaller_and_one_edge_is_exact() {
        let covered = |width, height| resized_size(Size::Cover { height: 224, width: 448 }, width, height);
        assert_eq!(covered(640, 427), Some((448, 298)));
        assert_eq!(covered(427, 640), Some((448, 671)));
        assert_eq!(covered(1000, 400), Some((560, 224)));
        assert_eq!(covered(7, 3), Some((522, 224)));
        for (width, height) in [(640, 427), (3, 500), (333, 334), (1, 1), (65_535, 3)] {
            let square = resized_size(Size::Cover { height: 224, width: 224 }, width, height);
            let edge = resized_size(Size::ShortestEdge { edge: 224, longest: None }, width, height);
            assert_eq!(square, edge, "{width}x{height}");
        }
    }

    /// `int(image_size / patch_size)`, and `int((w * image_size) / (h * patch_size))`, of DINOv3's notebooks.
    #[test]
    fn a_kept_shape_is_whole_patches_rounded_down() {
        let kept = |width, height| resized_size(Size::Patches { edge: 450, patch: 14 }, width, height);
        assert_eq!(kept(640, 427), Some((48 * 14, 32 * 14)));
        assert_eq!(kept(427, 640), Some((32 * 14, 48 * 14)));
        assert_eq!(kept(500, 500), Some((32 * 14, 32 * 14)));
        assert_eq!(kept(501, 500), Some((32 * 14, 32 * 14)));
        let exact = resized_size(Size::Patches { edge: 448, patch: 16 }, 300, 200);
        assert_eq!(exact, Some((42 * 16, 28 * 16)));
    }

    #[test]
    fn the_source_box_of_the_whole_output_is_the_centre_square() {
        let found = clip(448, 224).source_box(0, 0, 224, 224);
        assert_eq!(found, SourceBox { left: 112.0, top: 0.0, right: 336.0, bottom: 224.0 });
    }

    #[test]
    fn the_source_box_of_a_padded_picture_reaches_outside() {
        let config = ProcessorConfig::clip(224).fitted(crate::processor::Fit::Pad, None).expect("a mean");
        let geometry = Geometry::new(&config, 400, 201).expect("a geometry");
        let found = geometry.source_box(0, 0, 224, 224);
        assert_eq!(found, SourceBox { left: 0.0, top: -99.0, right: 400.0, bottom: 301.0 });
    }

    #[test]
    fn no_pixels_is_no_geometry() {
        let mut config = ProcessorConfig::clip(224);
        assert_eq!(Geometry::new(&config, 0, 5), None);
        config.resize = Some(Size::Within { height: 10, width: 10 });
        assert_eq!(Geometry::new(&config, 1000, 5), None);
    }
}
