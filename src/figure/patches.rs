//! Patch tokens as a grid.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A patch, by its place in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How many values a token has.
    pub fn width(&self) -> usize {
        self.values.len() / (self.rows * self.columns)
    }

    fn token(&self, index: usize) -> &[f32] {
        let width = self.width();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_patch_is_read_as_it_is_written(row: usize, column: usize) {
            let cell = Cell { row, column };
            prop_assert_eq!(cell.to_string().parse(), Ok(cell));
        }
    }

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
}
