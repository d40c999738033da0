//! A picture of the patches: each one's norm, or its likeness to one of them, drawn over the image.

use std::{fmt, str::FromStr};

use ::image::{Rgb, RgbImage};

use crate::processor::Geometry;

/// A patch, by its place in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Row, from 0 at the top.
    pub row: usize,
    /// Column, from 0 at the left.
    pub column: usize,
}

/// `ROW,COLUMN`.
impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cell = text.split_once(',').and_then(|(row, column)| {
            Some(Self { row: row.trim().parse().ok()?, column: column.trim().parse().ok()? })
        });
        cell.ok_or_else(|| format!("{text:?} is no patch, expected ROW,COLUMN such as 7,8"))
    }
}

impl Cell {
    /// Whether a grid has this patch; the error says what it has.
    ///
    /// # Errors
    /// It does not.
    pub fn check(self, rows: usize, columns: usize) -> Result<(), String> {
        if self.row < rows && self.column < columns {
            return Ok(());
        }
        Err(format!(
            "patch {self}: the picture has {rows} rows and {columns} columns of patches, counted from 0"
        ))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{},{}", self.row, self.column)
    }
}

/// Patch tokens as a grid: `rows` × `columns` × `width` values.
#[derive(Clone, Copy, Debug)]
pub struct Patches<'a> {
    /// The values, in row-major order.
    pub values: &'a [f32],
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches.
    pub columns: usize,
}

impl Patches<'_> {
    fn token(&self, index: usize) -> &[f32] {
        let width = self.values.len() / (self.rows * self.columns);
        &self.values[index * width..(index + 1) * width]
    }

    /// The Euclidean norm of each token.
    pub fn norms(&self) -> Vec<f32> {
        (0..self.rows * self.columns).map(|index| norm(self.token(index)) as f32).collect()
    }

    /// The cosine of each token to one of them.
    ///
    /// # Errors
    /// There is no such patch.
    pub fn cosines(&self, query: Cell) -> Result<Vec<f32>, String> {
        query.check(self.rows, self.columns)?;
        let query = self.token(query.row * self.columns + query.column);
        let cosine = |token: &[f32]| {
            let dot: f64 = token.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            (dot / (norm(token) * norm(query)).max(f64::MIN_POSITIVE)) as f32
        };
        Ok((0..self.rows * self.columns).map(|index| cosine(self.token(index))).collect())
    }
}

fn norm(token: &[f32]) -> f64 {
    token.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// The ends and quarters of the colour map viridis.
const COLOURS: [[f32; 3]; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];

/// How much of the colour, and how little of the picture, a patch shows.
const COVER: f32 = 0.6;

/// Draws scores (rows · columns) over a picture, from the lowest in violet to the highest in yellow. What no patch
/// sees is darkened, and the patch `marked` has a white frame.
///
/// # Panics
/// When there are fewer scores than patches of `patch_size` in the geometry's output.
pub fn draw(
    picture: &RgbImage,
    geometry: &Geometry,
    patch_size: usize,
    scores: &[f32],
    marked: Option<Cell>,
) -> RgbImage {
    let [_, columns] = geometry.grid(patch_size);
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let cell = |x: u32, y: u32| geometry.patch_at(x, y, patch_size);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let pixel = picture.get_pixel(x, y).0.map(f32::from);
        let Some((row, column)) = cell(x, y) else {
            return Rgb(pixel.map(|value| (value * (1.0 - COVER)).round() as u8));
        };
        let here = Cell { row, column };
        if marked == Some(here) {
            let near = (x.saturating_sub(FRAME), y.saturating_sub(FRAME), x + FRAME, y + FRAME);
            let inside = |x, y| cell(x, y) == Some((row, column));
            if !inside(near.0, y) || !inside(x, near.1) || !inside(near.2, y) || !inside(x, near.3) {
                return Rgb([255; 3]);
            }
        }
        let score = scores[row * columns + column];
        let colour = colour(if high > low { (score - low) / (high - low) } else { 0.5 });
        Rgb(std::array::from_fn(|channel| {
            (pixel[channel] * (1.0 - COVER) + colour[channel] * COVER).round() as u8
        }))
    })
}

/// Pixels of the frame around the marked patch.
const FRAME: u32 = 2;

/// A colour for a score from 0 to 1.
fn colour(score: f32) -> [f32; 3] {
    let place = score.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let lower = (place as usize).min(COLOURS.len() - 2);
    let part = place - lower as f32;
    std::array::from_fn(|channel| COLOURS[lower][channel] * (1.0 - part) + COLOURS[lower + 1][channel] * part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::Processor;

    /// Four tokens of width 2: right, up, left, and right again but longer.
    const TOKENS: [f32; 8] = [1.0, 0.0, 0.0, 2.0, -3.0, 0.0, 4.0, 0.0];

    #[test]
    fn norms_and_cosines_are_those_of_the_tokens() {
        let patches = Patches { values: &TOKENS, rows: 2, columns: 2 };
        assert_eq!(patches.norms(), [1.0, 2.0, 3.0, 4.0]);
        let query = "0, 0".parse().unwrap();
        assert_eq!(patches.cosines(query).unwrap(), [1.0, 0.0, -1.0, 1.0]);
        let error = patches.cosines(Cell { row: 0, column: 2 }).unwrap_err();
        assert!(error.contains("2 rows and 2 columns"), "{error}");
        for text in ["1", "a,b", "-1,0", "1,2,3"] {
            assert!(text.parse::<Cell>().unwrap_err().contains("is no patch"), "{text}");
        }
    }

    #[test]
    fn patches_are_drawn_where_the_crop_took_them() {
        // 40 × 20 is cropped to the middle 20 × 20, and shown at 8 × 8 in patches of 4.
        let picture = RgbImage::from_pixel(40, 20, Rgb([100; 3]));
        let geometry = Processor::clip(8).geometry(40, 20).unwrap();
        let drawn = draw(&picture, &geometry, 4, &[0.0, 1.0, 2.0, 4.0], None);
        assert_eq!(drawn.dimensions(), (40, 20));
        assert_eq!(drawn.get_pixel(9, 10).0, [40; 3]);
        assert_eq!(drawn.get_pixel(30, 10).0, [40; 3]);
        let mixed = |colour: [f32; 3]| colour.map(|value| (40.0 + value * 0.6).round() as u8);
        assert_eq!(drawn.get_pixel(10, 0).0, mixed(COLOURS[0]));
        assert_eq!(drawn.get_pixel(20, 9).0, mixed(COLOURS[1]));
        assert_eq!(drawn.get_pixel(19, 10).0, mixed(COLOURS[2]));
        assert_eq!(drawn.get_pixel(29, 19).0, mixed(COLOURS[4]));
        let marked = draw(&picture, &geometry, 4, &[0.0; 4], Some(Cell { row: 0, column: 1 }));
        assert_eq!(marked.get_pixel(20, 5).0, [255; 3]);
        assert_ne!(marked.get_pixel(25, 5).0, [255; 3]);
    }
}
