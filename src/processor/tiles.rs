//! A picture as tiles: its whole at the tower's size, then parts of it at a higher resolution.
//!
//! The rules are those of `LlavaNextImageProcessor[Pil]` and `LlavaOnevisionImageProcessor[Pil]` in transformers 5.23.0, with
//! `select_best_resolution`, `get_patch_output_size` and `divide_to_patches`.

use ::image::RgbImage;

use super::size::Size;

/// How a processor cuts tiles.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tiling {
    /// The resolutions that a picture is spread to, (height, width) each: `image_grid_pinpoints`.
    pub pinpoints: Vec<(u32, u32)>,
    /// Edge of the squares that it is then cut into.
    pub edge: u32,
    /// What a tile is resized to; none when `do_resize` is false.
    pub resize: Option<Size>,
}

/// Where a picture lies on the canvas that is cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    /// Width and height of the picture on it.
    pub(super) resized: (u32, u32),
    /// Left and top of the picture.
    pub(super) origin: (u32, u32),
    /// Width and height of the canvas.
    pub(super) canvas: (u32, u32),
}

impl Tiling {
    /// How a picture of `width` × `height` is spread; none where there is no resolution.
    pub(super) fn spread(&self, width: u32, height: u32) -> Option<Spread> {
        let best = self.best_resolution(width, height)?;
        let resized = output_size((width, height), best);
        // The reference asks for the size a second time, now of the resized picture, and pads by the answer.
        let again = output_size(resized, best);
        let pad = |target: u32, size: u32| {
            let spare = target - size;
            (spare / 2, spare)
        };
        let ((left, across), (top, down)) = (pad(best.0, again.0), pad(best.1, again.1));
        let canvas = (resized.0 + across, resized.1 + down);
        (resized.0 > 0 && resized.1 > 0).then_some(Spread { resized, origin: (left, top), canvas })
    }

    /// `select_best_resolution`: that which keeps the most pixels of the picture, and of several the one that wastes the least,
    /// (width, height).
    fn best_resolution(&self, width: u32, height: u32) -> Option<(u32, u32)> {
        let (w, h) = (f64::from(width), f64::from(height));
        let mut best: Option<((u32, u32), u64, u64)> = None;
        for &(rows, columns) in &self.pinpoints {
            let scale = (f64::from(columns) / w).min(f64::from(rows) / h);
            let kept = ((w * scale) as u64 * (h * scale) as u64).min(u64::from(width) * u64::from(height));
            let wasted = (u64::from(rows) * u64::from(columns)).saturating_sub(kept);
            let is_better = match best {
                None => true,
                Some((_, most, least)) => kept > most || kept == most && wasted < least,
            };
            if is_better {
                best = Some(((columns, rows), kept, wasted));
            }
        }
        best.map(|(resolution, ..)| resolution)
    }

    /// The squares of a canvas, by rows; at the right and the bottom there can be less than one.
    pub(super) fn cut(&self, canvas: &RgbImage) -> Vec<RgbImage> {
        let (width, height) = canvas.dimensions();
        let steps = |length: u32| (0..length).step_by(self.edge as usize);
        let square = |left: u32, top: u32| {
            let (width, height) = (self.edge.min(width - left), self.edge.min(height - top));
            ::image::imageops::crop_imm(canvas, left, top, width, height).to_image()
        };
        steps(height)
            .flat_map(|top| steps(width).map(move |left| (left, top)))
            .map(|(x, y)| square(x, y))
            .collect()
    }
}

/// `get_patch_output_size`: the largest size with the picture's aspect inside a target, rounded up; (width, height) all.
fn output_size((width, height): (u32, u32), target: (u32, u32)) -> (u32, u32) {
    let across = f64::from(target.0) / f64::from(width);
    let down = f64::from(target.1) / f64::from(height);
    if across < down {
        (target.0, ((f64::from(height) * across).ceil() as u32).min(target.1))
    } else {
        (((f64::from(width) * down).ceil() as u32).min(target.0), target.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llava_next() -> Tiling {
        let pinpoints = vec![(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)];
        Tiling { pinpoints, edge: 336, resize: None }
    }

    #[test]
    fn the_resolution_that_keeps_most_and_then_wastes_least_is_taken() {
        for ((width, height), best) in [
            ((640, 480), (672, 672)),
            ((1000, 300), (1008, 336)),
            ((300, 900), (336, 1008)),
            ((10, 10), (672, 336)),
        ] {
            assert_eq!(llava_next().best_resolution(width, height), Some(best), "{width}x{height}");
        }
        assert_eq!(Tiling { pinpoints: Vec::new(), ..llava_next() }.spread(5, 5), None);
        let thin = llava_next().spread(1, 60_000).unwrap();
        assert_eq!((thin.resized, thin.canvas), ((1, 336), (672, 336)));
    }

    #[test]
    fn the_picture_lies_in_the_middle_the_smaller_half_of_the_padding_first() {
        let spread = llava_next().spread(640, 427).unwrap();
        assert_eq!((spread.resized, spread.origin, spread.canvas), ((672, 449), (0, 111), (672, 672)));
    }

    #[test]
    fn a_canvas_is_cut_by_rows() {
        let canvas = RgbImage::from_fn(5, 3, |x, y| ::image::Rgb([x as u8, y as u8, 0]));
        let tiling = Tiling { edge: 2, ..llava_next() };
        let found: Vec<_> =
            tiling.cut(&canvas).iter().map(|tile| (tile.dimensions(), tile.get_pixel(0, 0).0)).collect();
        let expected = [((2, 2), [0, 0, 0]), ((2, 2), [2, 0, 0]), ((1, 2), [4, 0, 0]), ((2, 1), [0, 2, 0])];
        assert_eq!(found[..4], expected);
        assert_eq!(found.len(), 6);
    }
}
