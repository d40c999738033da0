//! The first principal components of patch tokens, as colours.
//!
//! All sums are in float64 and in a fixed order, and nothing is random, so the same tokens give the same bytes.

use image::{Rgb, RgbImage};

use super::{
    Patches, Subject,
    canvas::{Canvas, Text, blended},
    view::{crop, grey},
};

/// How many components are drawn: red, green and blue.
const COUNT: usize = 3;

/// The first principal components of a picture's patch tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Components {
    /// Of each component, the place of every patch along it: its token, less the mean of all tokens, projected.
    ///
    /// A component's sign is such that the patch farthest from the mean is on the positive side; of two that are equally far,
    /// the first. One without variance is zero.
    pub(super) scores: [Vec<f64>; COUNT],
    /// Each component's share of the tokens' variance, from 0 to 1.
    pub(super) shares: [f64; COUNT],
}

/// The first three principal components of tokens.
pub(super) fn principal_components(patches: &Patches<'_>) -> Components {
    let (count, width) = (patches.rows * patches.columns, patches.width());
    let mut tokens = rows(patches.values, width);
    centre(&mut tokens);
    let total: f64 = tokens.iter().flatten().map(|value| value * value).sum();
    // Tokens or features, whichever are fewer: their products have the same eigenvalues.
    let by_tokens = count <= width;
    let found = leading(&if by_tokens { gram(&transposed(&tokens)) } else { gram(&tokens) }, total);
    let component = |index: usize| match found.get(index) {
        Some((value, vector)) if *value > total * 1e-12 => {
            let mut scores: Vec<f64> = match by_tokens {
                true => vector.iter().map(|entry| entry * value.sqrt()).collect(),
                false => tokens.iter().map(|token| dot(token, vector)).collect(),
            };
            fix_sign(&mut scores);
            (scores, value / total)
        }
        _ => (vec![0.0; count], 0.0),
    };
    let [(red, r), (green, g), (blue, b)] = std::array::from_fn(component);
    Components { scores: [red, green, blue], shares: [r, g, b] }
}

/// Turns scores so that the one farthest from zero is positive. Of those as far but for rounding, the first counts.
fn fix_sign(scores: &mut [f64]) {
    let farthest = scores.iter().fold(0.0, |most: f64, score| most.max(score.abs()));
    let first = scores.iter().find(|score| score.abs() >= farthest * (1.0 - 1e-9));
    if first.is_some_and(|&score| score < 0.0) {
        scores.iter_mut().for_each(|score| *score = -*score);
    }
}

/// A row of a matrix.
type Row = Vec<f64>;

fn rows(values: &[f32], width: usize) -> Vec<Row> {
    values.chunks_exact(width).map(|row| row.iter().copied().map(f64::from).collect()).collect()
}

/// Takes each column's mean away.
fn centre(rows: &mut [Row]) {
    let mut means = vec![0.0; rows[0].len()];
    for row in &*rows {
        means.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    means.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    for row in rows {
        row.iter_mut().zip(&means).for_each(|(value, mean)| *value -= mean);
    }
}

fn transposed(rows: &[Row]) -> Vec<Row> {
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// The sum of each row's product with itself: columns × columns, symmetric.
fn gram(rows: &[Row]) -> Vec<Row> {
    let edge = rows[0].len();
    let mut sums = vec![vec![0.0; edge]; edge];
    for row in rows {
        for (index, &factor) in row.iter().enumerate() {
            sums[index][..=index].iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    let entry = |row: usize, column: usize| sums[row.max(column)][row.min(column)];
    (0..edge).map(|row| (0..edge).map(|column| entry(row, column)).collect()).collect()
}

/// By rows, since it is symmetric: each sum is in the order of the columns, and many at once.
fn times(symmetric: &[Row], vector: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; vector.len()];
    for (row, &factor) in symmetric.iter().zip(vector) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
    }
    sums
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Vectors that are iterated together. More than are wanted, since those settle sooner.
const BLOCK: usize = 16;

/// Rounds at most. Components that have not settled by then have eigenvalues that are nearly equal, and are as good as any.
const ROUNDS: usize = 500;

/// The largest eigenvalues of a symmetric matrix that has no negative ones, with their vectors, by orthogonal iteration.
fn leading(matrix: &[Row], total: f64) -> Vec<(f64, Vec<f64>)> {
    let edge = matrix.len();
    let mut basis = units(orthogonal((0..BLOCK.min(edge)).map(|index| start(index, edge)).collect()));
    for round in 1.. {
        let images: Vec<Row> = basis.iter().map(|vector| times(matrix, vector)).collect();
        let values: Vec<f64> = basis.iter().zip(&images).map(|(vector, image)| dot(vector, image)).collect();
        let residual = |index: usize| {
            let parts = images[index].iter().zip(&basis[index]);
            parts.map(|(image, entry)| (image - values[index] * entry).powi(2)).sum::<f64>().sqrt()
        };
        if round == ROUNDS || (0..COUNT.min(edge)).all(|index| residual(index) <= total * 1e-12) {
            return values.into_iter().zip(basis).take(COUNT).collect();
        }
        basis = units(orthogonal(images));
    }
    unreachable!("the last round returns")
}

/// A vector to begin with: any that is not special, the same each time.
fn start(index: usize, edge: usize) -> Vec<f64> {
    let mut state = index as u64 + 1;
    let mut next = || {
        // The generator SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..edge).map(|_| next()).collect()
}

/// Vectors that span the same, each orthogonal to all others, the longest first: Hestenes' rotations, two at a time.
fn orthogonal(mut vectors: Vec<Row>) -> Vec<Row> {
    const SWEEPS: usize = 30;
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for index in 1..vectors.len() {
            let (before, rest) = vectors.split_at_mut(index);
            let right = &mut rest[0];
            for left in before {
                let (ll, rr, lr) = (dot(left, left), dot(right, right), dot(left, right));
                // What is not finite is not turned.
                if lr.abs() > ll.sqrt() * rr.sqrt() * 1e-14 {
                    rotated = true;
                    let theta = (rr - ll) / (2.0 * lr);
                    let tangent = 1.0_f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                    let sine = tangent * cosine;
                    for (left, right) in left.iter_mut().zip(right.iter_mut()) {
                        (*left, *right) = (cosine * *left - sine * *right, sine * *left + cosine * *right);
                    }
                }
            }
        }
        if !rotated {
            break;
        }
    }
    vectors.sort_by(|left, right| dot(right, right).total_cmp(&dot(left, left)));
    vectors
}

/// Vectors of length 1; one without length stays.
fn units(mut vectors: Vec<Row>) -> Vec<Row> {
    for vector in &mut vectors {
        let length = dot(vector, vector).sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        vector.iter_mut().for_each(|entry| *entry *= scale);
    }
    vectors
}

/// Longer edge of each of the two panels.
const EDGE: u32 = 512;

/// How much of the colour, and how little of the picture, a patch shows.
const COVER: f32 = 0.85;

impl Components {
    /// What the patches see, and beside it their places along the components as red, green and blue, drawn over it; where
    /// it is bare, the latter alone. Each component goes from its least value in this picture, dark, to its greatest, bright; one
    /// without variance is grey. `tensor` names the tokens.
    ///
    /// # Panics
    /// When there are other patches than the geometry's.
    pub(super) fn figure(&self, subject: Subject<'_>, tensor: &str, is_bare: bool) -> RgbImage {
        let seen = crop(subject, EDGE);
        let coloured = self.over(&seen, subject.geometry.grid(subject.patch_size));
        if is_bare {
            return coloured;
        }
        let (width, height) = seen.dimensions();
        let text = Text::beside(width.max(height));
        let margin = text.margin();
        let percent = self.shares.map(|share| format!("{:.1}", share * 100.0)).join(" + ");
        let caption = format!(
            "the first principal components of the patches' {tensor} as red, green and blue: {percent} % of the variance"
        );
        let mut canvas = Canvas::with_caption(2 * width + 3 * margin, height, &caption, text);
        canvas.paste(&seen, margin, margin);
        canvas.paste(&coloured, 2 * margin + width, margin);
        canvas.finished()
    }

    /// The colours of a grid of patches over what they show.
    fn over(&self, seen: &RgbImage, [rows, columns]: [usize; 2]) -> RgbImage {
        let bands = self.scores.each_ref().map(|scores| scaled(scores));
        let (width, height) = seen.dimensions();
        RgbImage::from_fn(width, height, |x, y| {
            let (row, column) = (y as usize * rows / height as usize, x as usize * columns / width as usize);
            let colour = bands.each_ref().map(|band| band[row * columns + column]);
            Rgb(blended(grey(seen.get_pixel(x, y).0), colour, COVER))
        })
    }
}

/// Scores from 0, the least, to 255, the greatest; all in the middle where they do not differ.
fn scaled(scores: &[f64]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = |score: &f64| if high > low { ((score - low) / (high - low) * 255.0) as f32 } else { 127.5 };
    scores.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::Processor;

    /// Tokens that are not special, and no component of which is.
    fn tokens(count: usize, width: usize) -> Vec<f32> {
        let mut values = Vec::new();
        for index in 0..count {
            let mixed = start(1000 + index, width);
            values
                .extend(mixed.iter().enumerate().map(|(at, value)| (value / (1.0 + at as f64)) as f32 + 3.0));
        }
        values
    }

    /// The scores of all components by the other way: features that are turned until none goes with another.
    fn oracle(values: &[f32], width: usize) -> Vec<Row> {
        let mut tokens = rows(values, width);
        centre(&mut tokens);
        orthogonal(transposed(&tokens))
    }

    #[test]
    fn components_are_those_of_the_covariance_for_many_tokens_and_for_few() {
        for (rows, columns, width) in [(6, 8, 40), (10, 9, 24), (2, 2, 50), (30, 20, 5), (7, 7, 49)] {
            let values = tokens(rows * columns, width);
            let found = principal_components(&Patches { values: &values, rows, columns });
            let components = oracle(&values, width);
            let eigenvalues: Vec<f64> = components.iter().map(|scores| dot(scores, scores)).collect();
            let total: f64 = eigenvalues.iter().sum();
            for index in 0..3 {
                let (expected, scores) = (&components[index], &found.scores[index]);
                let sign = dot(expected, scores).signum();
                let error =
                    expected.iter().zip(scores).map(|(a, b)| (a * sign - b).abs()).fold(0.0, f64::max);
                assert!(error < 1e-6 * eigenvalues[0].sqrt(), "{rows}x{columns}x{width}, {index}: {error}");
                assert!((found.shares[index] - eigenvalues[index] / total).abs() < 1e-9);
                let farthest = scores.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
                assert!(farthest > 0.0, "the sign is fixed");
            }
        }
    }

    #[test]
    fn tokens_without_variance_have_no_components() {
        let same = principal_components(&Patches { values: &[2.0; 40], rows: 2, columns: 5 });
        assert_eq!((same.scores[0].clone(), same.shares), (vec![0.0; 10], [0.0; 3]));
        // Along one line, the other two are zero, not noise.
        let line: Vec<f32> = (0..12).flat_map(|step| [step as f32, 2.0 * step as f32, 1.0]).collect();
        let found = principal_components(&Patches { values: &line, rows: 3, columns: 4 });
        assert!((found.shares[0] - 1.0).abs() < 1e-12 && found.shares[1..] == [0.0; 2]);
        assert_eq!(scaled(&found.scores[1]), [127.5; 12]);
        let one = principal_components(&Patches { values: &[1.0, 2.0], rows: 1, columns: 1 });
        assert_eq!(one.shares, [0.0; 3]);
        let wild = principal_components(&Patches { values: &[f32::NAN; 8], rows: 2, columns: 2 });
        assert_eq!(wild.shares, [0.0; 3]);
    }

    #[test]
    fn patches_are_coloured_where_the_crop_took_them() {
        let picture = RgbImage::from_pixel(40, 20, Rgb([100; 3]));
        let geometry = Processor::clip(8).geometry(40, 20).unwrap();
        let subject = Subject { picture: &picture, size: (40, 20), geometry: &geometry, patch_size: 4 };
        let ramp = vec![0.0, 1.0, 2.0, 4.0];
        let components = Components { scores: [ramp, vec![1.0; 4], vec![0.0; 4]], shares: [1.0, 0.0, 0.0] };
        let coloured = components.over(&crop(subject, 512), [2, 2]);
        let red = |x, y| coloured.get_pixel(x, y).0[0];
        let expected =
            [0.0, 63.75, 127.5, 255.0].map(|band: f32| (band * COVER + 100.0 * (1.0 - COVER)).round() as u8);
        assert_eq!([red(0, 0), red(256, 255), red(255, 256), red(511, 511)], expected);
        let figure = components.figure(subject, "last_hidden_state", false);
        assert_eq!(figure.get_pixel(100, 100).0, [100; 3], "what is seen stands on the left");
        assert_eq!(figure, components.figure(subject, "last_hidden_state", false));
        assert_eq!(components.figure(subject, "last_hidden_state", true), coloured);
    }
}
