//! A number for each patch, as a colour over the picture, with a bar that says which.

use image::{Rgb, RgbImage};

use super::{
    Cell, Subject,
    canvas::{Canvas, Colour, Text, blended},
    view::{grey, whole},
};

/// A number for each patch, row by row, and what it is.
#[derive(Debug)]
pub(super) struct Scores {
    /// The numbers.
    pub(super) values: Vec<f32>,
    /// What they are, for a person.
    pub(super) meaning: String,
    /// The patch that is framed.
    pub(super) marked: Option<Cell>,
}

/// The ends and quarters of the colour map viridis.
const COLOURS: [Colour; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];

/// How much of the colour, and how little of the picture, a patch shows.
const COVER: f32 = 0.6;

/// Pixels of the frame around the marked patch.
const FRAME: u32 = 2;

/// Draws scores over a picture in grey, from the lowest in violet to the highest in yellow, beside them a bar with the numbers that
/// the colours stand for, below them what they are. The bar goes from what lies over black, on its left, to what lies over white, so that
/// it has every colour of the map. What no patch sees is darkened, and the marked patch has a white frame. Where it is bare, the
/// map stands alone, and no patch is framed.
///
/// # Panics
/// When there are fewer scores than patches.
pub(super) fn heatmap(subject: Subject<'_>, scores: &Scores, is_bare: bool) -> RgbImage {
    let panel = over(&whole(subject), subject, scores, !is_bare);
    if is_bare {
        return panel;
    }
    let (width, height) = panel.dimensions();
    let text = Text::beside(width.max(height));
    let line = text.height();
    let margin = text.margin();
    // Small pictures leave the bar room for its numbers.
    let room = height.max(line * 8);
    let ticks = ticks(&scores.values);
    let numbers = ticks.iter().map(|(_, number)| text.width(number)).max().unwrap_or(0);
    let sheet = width + line + numbers + 3 * margin + margin / 2;
    let mut canvas = Canvas::with_caption(sheet, room, &scores.meaning, text);
    canvas.paste(&panel, margin, margin + (room - height) / 2);
    let left = width + 2 * margin;
    for y in 0..room {
        let colour = colour(1.0 - y as f32 / (room - 1) as f32);
        for x in 0..line {
            let below = (x * 255 / (line - 1)) as u8;
            canvas.blend(left + x, margin + y, blended([below; 3], colour, COVER).map(f32::from), 1.0);
        }
    }
    for (place, number) in &ticks {
        let y = margin + ((1.0 - place) * (room - 1) as f32).round() as u32;
        (0..margin / 2).for_each(|x| canvas.blend(left + line - 1 - x, y, [255.0; 3], 1.0));
        let top = (y.saturating_sub(margin)).clamp(margin, margin + room - line);
        canvas.write(number, text, left + line + margin / 2, top);
    }
    canvas.finished()
}

/// The scores' colours over a picture, in whatever size it is shown.
fn over(shown: &RgbImage, subject: Subject<'_>, scores: &Scores, is_framed: bool) -> RgbImage {
    let geometry = subject.geometry;
    let [_, columns] = geometry.grid(subject.patch_size);
    let [low, high] = range(&scores.values);
    let source = |position: u32, edge: u32, shown: u32| {
        ((f64::from(position) + 0.5) * f64::from(edge) / f64::from(shown)) as u32
    };
    let cell = |x: u32, y: u32| {
        let (x, y) = (source(x, subject.size.0, shown.width()), source(y, subject.size.1, shown.height()));
        geometry.patch_at(x, y, subject.patch_size).map(|(row, column)| Cell { row, column })
    };
    RgbImage::from_fn(shown.width(), shown.height(), |x, y| {
        let pixel = grey(shown.get_pixel(x, y).0);
        let Some(here) = cell(x, y) else { return Rgb(blended(pixel, [0.0; 3], COVER)) };
        if is_framed && scores.marked == Some(here) {
            let near = (x.saturating_sub(FRAME), y.saturating_sub(FRAME), x + FRAME, y + FRAME);
            let inside = |x, y| cell(x, y) == Some(here);
            if !inside(near.0, y) || !inside(x, near.1) || !inside(near.2, y) || !inside(x, near.3) {
                return Rgb([255; 3]);
            }
        }
        let score = scores.values[here.row * columns + here.column];
        let place = if high > low { (score - low) / (high - low) } else { 0.5 };
        Rgb(blended(pixel, colour(place), COVER))
    })
}

fn range(values: &[f32]) -> [f32; 2] {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    [low, values.iter().copied().fold(f32::NEG_INFINITY, f32::max)]
}

/// Places on the bar from 0 to 1, and the numbers there: the ends, the middle and the quarters; one where all scores are the same.
fn ticks(values: &[f32]) -> Vec<(f32, String)> {
    let [low, high] = range(values).map(f64::from);
    let step = (high - low) / 4.0;
    if !(step > 0.0 && step.is_finite()) {
        return vec![(0.5, format!("{low:.3}"))];
    }
    // As many digits as tell them apart, and one more.
    let decimals = (1.0 - step.log10().floor()).clamp(0.0, 8.0) as usize;
    let number = |tick: u8| {
        let number = low + step * f64::from(tick);
        // No minus before a number that is shown as zero.
        let text = format!("{number:.decimals$}");
        let is_zero = text.trim_start_matches('-').bytes().all(|byte| matches!(byte, b'0' | b'.'));
        if is_zero { text.trim_start_matches('-').to_owned() } else { text }
    };
    (0..=4).map(|tick| (f32::from(tick) / 4.0, number(tick))).collect()
}

/// A colour for a score from 0 to 1.
fn colour(score: f32) -> Colour {
    let place = score.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let lower = (place as usize).min(COLOURS.len() - 2);
    let part = place - lower as f32;
    std::array::from_fn(|band| COLOURS[lower][band] * (1.0 - part) + COLOURS[lower + 1][band] * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Processor, ProcessorConfig};

    fn scores(values: &[f32], marked: Option<Cell>) -> Scores {
        Scores { values: values.to_vec(), meaning: "norm of each patch token".into(), marked }
    }

    #[test]
    fn patches_are_drawn_where_the_crop_took_them() {
        // 40 × 20 is cropped to the middle 20 × 20, and shown at 8 × 8 in patches of 4.
        let picture = RgbImage::from_pixel(40, 20, Rgb([100; 3]));
        let geometry = Processor::clip(8).geometry(40, 20).unwrap();
        let subject = Subject { picture: &picture, size: (40, 20), geometry: &geometry, patch_size: 4 };
        let mixed = |colour: Colour| colour.map(|value| (40.0 + value * 0.6).round() as u8);
        // Shown as it is, and at ten times the size.
        for scale in [1, 10] {
            let shown = RgbImage::from_pixel(40 * scale, 20 * scale, Rgb([100; 3]));
            let drawn = over(&shown, subject, &scores(&[0.0, 1.0, 2.0, 4.0], None), true);
            for (x, y, want) in [
                (9, 10, [40; 3]),
                (30, 10, [40; 3]),
                (10, 0, mixed(COLOURS[0])),
                (20, 9, mixed(COLOURS[1])),
                (19, 10, mixed(COLOURS[2])),
                (29, 19, mixed(COLOURS[4])),
            ] {
                assert_eq!(drawn.get_pixel(x * scale, y * scale).0, want, "{scale}: {x}, {y}");
            }
        }
        let marked = over(&picture, subject, &scores(&[0.0; 4], Some(Cell { row: 0, column: 1 })), true);
        assert_eq!(marked.get_pixel(20, 5).0, [255; 3]);
        assert_ne!(marked.get_pixel(25, 5).0, [255; 3]);
    }

    #[test]
    fn a_grid_need_not_be_square() {
        let config = ProcessorConfig { resize: None, crop: Some((8, 16)), ..ProcessorConfig::clip(8) };
        let geometry = Processor::new(config).geometry(16, 8).unwrap();
        let picture = RgbImage::from_pixel(16, 8, Rgb([100; 3]));
        let subject = Subject { picture: &picture, size: (16, 8), geometry: &geometry, patch_size: 4 };
        let drawn = over(&picture, subject, &scores(&[0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0], None), true);
        let row = |y: u32| [1, 5, 9, 13].map(|x| drawn.get_pixel(x, y).0);
        let mixed = |colour: Colour| colour.map(|value| (40.0 + value * 0.6).round() as u8);
        assert_eq!(row(1), [0, 1, 2, 3].map(|index| mixed(COLOURS[index])));
        assert_eq!(row(6), [mixed(COLOURS[4]); 4]);
    }

    #[test]
    fn the_bar_goes_from_the_highest_to_the_lowest() {
        let picture = RgbImage::from_pixel(400, 400, Rgb([100; 3]));
        let geometry = Processor::clip(8).geometry(400, 400).unwrap();
        let subject = Subject { picture: &picture, size: (400, 400), geometry: &geometry, patch_size: 4 };
        let drawn = heatmap(subject, &scores(&[0.5, 1.0, 1.5, 2.5], None), false);
        let bar = |x: u32, y: u32| drawn.get_pixel(400 + 16 + x, y).0;
        let over = |grey: f32, colour: Colour| colour.map(|value| (grey * 0.4 + value * 0.6).round() as u8);
        // The marks of the numbers lie over the right edge.
        for (x, grey) in [(0, 0.0), (11, 187.0)] {
            assert_eq!([bar(x, 8), bar(x, 407)], [over(grey, COLOURS[4]), over(grey, COLOURS[0])]);
        }
        assert_eq!(bar(2, 410), [255; 3], "below the bar");
    }

    #[test]
    fn every_colour_of_the_map_is_on_the_bar() {
        let (edge, line) = (400, 16);
        let picture =
            RgbImage::from_fn(edge, edge, |x, y| Rgb([(x * 255 / edge) as u8, (y * 255 / edge) as u8, 90]));
        let geometry = Processor::clip(8).geometry(edge, edge).unwrap();
        let subject = Subject { picture: &picture, size: (edge, edge), geometry: &geometry, patch_size: 4 };
        let scores = scores(&[0.0, 1.3, 2.9, 4.0], Some(Cell { row: 0, column: 1 }));
        let drawn = heatmap(subject, &scores, false);
        let bar: Vec<[u8; 3]> = (0..line)
            .flat_map(|x| (0..edge).map(move |y| (edge + line + x, 8 + y)))
            .map(|(x, y)| drawn.get_pixel(x, y).0)
            .collect();
        let distance = |a: [u8; 3], b: [u8; 3]| (0..3).map(|band| a[band].abs_diff(b[band])).max().unwrap();
        let bare = heatmap(subject, &scores, true);
        assert_eq!(bare.dimensions(), (edge, edge));
        for (x, y, pixel) in bare.enumerate_pixels().filter(|(x, y, _)| x % 13 == 0 && y % 13 == 0) {
            let nearest = bar.iter().map(|&colour| distance(colour, pixel.0)).min().unwrap();
            assert!(nearest <= 4, "{x}, {y}: {pixel:?} is {nearest} from the bar");
        }
        // Away from the frame it is what stands beside the bar.
        assert_eq!(bare.get_pixel(50, 50), drawn.get_pixel(8 + 50, 8 + 50));
        assert_ne!(bare.get_pixel(200, 5), drawn.get_pixel(8 + 200, 8 + 5), "the frame");
    }

    #[test]
    fn ticks_are_told_apart_and_no_longer_than_needed() {
        let numbers =
            |values: &[f32]| ticks(values).into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        assert_eq!(numbers(&[0.0, 4.0]), ["0.0", "1.0", "2.0", "3.0", "4.0"]);
        assert_eq!(numbers(&[-0.5, 0.5]), ["-0.50", "-0.25", "0.00", "0.25", "0.50"]);
        assert_eq!(numbers(&[1000.0, 9000.0]), ["1000", "3000", "5000", "7000", "9000"]);
        assert_eq!(numbers(&[2.0, 2.0]), ["2.000"]);
        assert_eq!(numbers(&[f32::NAN]).len(), 1);
    }
}
