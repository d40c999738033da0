//! Position embeddings for another grid of patches, as the references make them: torch's `interpolate`.

use crate::model::traits::Interpolation;

/// One output position: weights on neighbouring inputs, `(index, weight)`.
type Taps = Vec<(usize, f64)>;

/// Stretches embeddings (grid · grid, width) to (rows · columns, width).
///
/// # Panics
/// When `own` is empty or not a multiple of grid · grid.
pub(super) fn stretch(
    own: &[f32],
    grid: usize,
    rows: usize,
    columns: usize,
    interpolation: Interpolation,
) -> Vec<f32> {
    let taps = |input, output| match interpolation {
        Interpolation::Bicubic => plain_taps(input, output, false, |x| cubic(x, -0.75)),
        Interpolation::Bilinear => plain_taps(input, output, false, triangle),
        Interpolation::BilinearAligned => plain_taps(input, output, true, triangle),
        Interpolation::BicubicAntialiased => antialiased_taps(input, output, 2.0, |x| cubic(x, -0.5)),
        Interpolation::BilinearAntialiased => antialiased_taps(input, output, 1.0, triangle),
    };
    let width = own.len() / (grid * grid);
    assert_eq!(own.len(), grid * grid * width);
    let (mut vertical, horizontal) = (taps(grid, rows), taps(grid, columns));
    if interpolation == Interpolation::BilinearAntialiased && columns == 1 && rows != grid {
        // torch 2.15.0 on a CPU takes an antialiased column's first weights for all of its rows: `basic_loop_aa_vertical`
        // (aten/src/ATen/native/cpu/UpSampleKernel.cpp) holds them for constant along what is a row's columns, but of one
        // column the iterator makes its rows. It is what NaFlex's class gives, so that such a strip's patches have one place.
        // Whoever takes the cubic kernel permutes the embeddings first, and torch has a right one for channels that lie last.
        vertical = vec![vertical.swap_remove(0); rows];
    }
    // (grid, columns, width): each row stretched sideways
    let mut wide = vec![0f64; grid * columns * width];
    for (row, out) in own.chunks_exact(grid * width).zip(wide.chunks_exact_mut(columns * width)) {
        for (taps, out) in horizontal.iter().zip(out.chunks_exact_mut(width)) {
            for &(column, weight) in taps {
                for (out, &value) in out.iter_mut().zip(&row[column * width..]) {
                    *out += weight * f64::from(value);
                }
            }
        }
    }
    // (rows, columns, width)
    let mut stretched = Vec::with_capacity(rows * columns * width);
    let mut line = vec![0f64; columns * width];
    for taps in &vertical {
        line.fill(0.0);
        for &(row, weight) in taps {
            for (out, &value) in line.iter_mut().zip(&wide[row * columns * width..]) {
                *out += weight * value;
            }
        }
        stretched.extend(line.iter().map(|&value| value as f32));
    }
    stretched
}

/// Four taps around the centre; those outside count as the edge's own value. `align_corners` puts the outermost centres on the
/// outermost positions.
fn plain_taps(input: usize, output: usize, align_corners: bool, kernel: fn(f64) -> f64) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let aligned = (input - 1) as f64 / (output - 1).max(1) as f64;
    (0..output)
        .map(|index| {
            let index = index as f64;
            let centre = if align_corners { index * aligned } else { (index + 0.5) * scale - 0.5 };
            let first = centre.floor();
            (-1..=2)
                .map(|step| {
                    let position = first + f64::from(step);
                    let inside = position.clamp(0.0, (input - 1) as f64) as usize;
                    (inside, kernel(position - centre))
                })
                .collect()
        })
        .collect()
}

/// The taps under a kernel that reaches so far to either side, times as much as the grid shrinks; those outside are left out.
fn antialiased_taps(input: usize, output: usize, reach: f64, kernel: fn(f64) -> f64) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = reach * widening;
    (0..output)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let weight = |position: usize| kernel((position as f64 + 0.5 - centre) / widening);
            let sum: f64 = (first..end).map(weight).sum();
            (first..end).map(|position| (position, weight(position) / sum)).collect()
        })
        .collect()
}

/// Linear interpolation's kernel.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys's cubic convolution kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interpolation; 5] = [
        Interpolation::Bicubic,
        Interpolation::BicubicAntialiased,
        Interpolation::Bilinear,
        Interpolation::BilinearAligned,
        Interpolation::BilinearAntialiased,
    ];

    #[test]
    fn the_same_grid_stays_and_a_flat_one_stays_flat() {
        let own: Vec<f32> = (0..5 * 5 * 2).map(|value| (value as f32 * 0.7).sin()).collect();
        for interpolation in ALL {
            for (found, expected) in stretch(&own, 5, 5, 5, interpolation).into_iter().zip(&own) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
            for (rows, columns) in [(3, 7), (9, 1), (2, 2)] {
                let flat = stretch(&[0.75; 4 * 4 * 3], 4, rows, columns, interpolation);
                assert_eq!(flat.len(), rows * columns * 3);
                assert!(flat.iter().all(|value| (value - 0.75).abs() < 1e-6));
            }
        }
    }

    /// `torch.nn.functional.interpolate(torch.arange(16.).sin().view(1, 1, 4, 4), (2, 3), mode="bicubic")`, and
    /// the same in the other ways.
    #[test]
    fn values_are_torchs() {
        let own: Vec<f32> = (0..16u8).map(|value| f64::from(value).sin() as f32).collect();
        for (interpolation, expected) in
            ALL.into_iter().zip([BICUBIC, ANTIALIASED, BILINEAR, ALIGNED, BILINEAR_ANTIALIASED])
        {
            for (found, expected) in stretch(&own, 4, 2, 3, interpolation).into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }

    /// The same of nine to (4, 1). Antialiased, torch gives the first row four times, and a cubic kernel is taken by those alone who
    /// permute: `interpolate(torch.stack([x, x], -1).permute(0, 3, 1, 2), …)`.
    #[test]
    fn a_single_column_is_torchs_too() {
        let own: Vec<f32> = (0..9u8).map(|value| f64::from(value).sin() as f32).collect();
        for (interpolation, expected) in ALL.into_iter().zip([
            [0.956190810, -0.336185658, -0.422932955, 0.758464625],
            [0.666143477, -0.186846986, -0.245758951, 0.526340246],
            [0.841470957, -0.157449961, -0.226631597, 0.656986594],
            [0.0, 0.094080001, 0.000941487, -0.279415488],
            [0.620429687; 4],
        ]) {
            for (found, expected) in stretch(&own, 3, 4, 1, interpolation).into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
    const BICUBIC: [f64; 6] =
        [-0.500326904, 0.089386179, 0.532738513, 0.418290998, 0.435637985, -0.260327789];
    const ANTIALIASED: [f64; 6] =
        [-0.173869481, 0.088780312, 0.225204071, 0.151897097, 0.198615678, -0.037053455];
    const BILINEAR: [f64; 6] =
        [-0.325122148, 0.128107160, 0.385034591, 0.258017689, 0.319717944, -0.108493865];
    const ALIGNED: [f64; 6] = [0.0, 0.875384212, 0.141120002, -0.536572933, 0.705387235, 0.650287867];
    const BILINEAR_ANTIALIASED: [f64; 6] =
        [-0.125543840, 0.100384521, 0.197102590, 0.126066733, 0.185591109, 0.006231232];
}
