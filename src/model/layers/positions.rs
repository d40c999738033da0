//! Position embeddings for another grid of patches, as transformers' `interpolate_pos_encoding` makes them:
//! torch's bicubic `interpolate` with `align_corners=False`.

/// One output position: weights on neighbouring inputs, `(index, weight)`.
type Taps = Vec<(usize, f64)>;

/// Stretches embeddings (grid · grid, width) to (rows · columns, width).
///
/// `antialias` is `interpolate`'s: the kernel widens when the grid shrinks, and it is Keys's cubic with
/// a = -0.5 where the plain one has a = -0.75.
///
/// # Panics
/// When `own` is empty or not a multiple of grid · grid.
pub(super) fn stretch(own: &[f32], grid: usize, rows: usize, columns: usize, antialias: bool) -> Vec<f32> {
    let taps = if antialias { antialiased_taps } else { plain_taps };
    let width = own.len() / (grid * grid);
    assert_eq!(own.len(), grid * grid * width);
    let (vertical, horizontal) = (taps(grid, rows), taps(grid, columns));
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

/// Four taps around the centre; those outside count as the edge's own value.
fn plain_taps(input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    (0..output)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale - 0.5;
            let first = centre.floor();
            (-1..=2)
                .map(|step| {
                    let position = first + f64::from(step);
                    let inside = position.clamp(0.0, (input - 1) as f64) as usize;
                    (inside, cubic(position - centre, -0.75))
                })
                .collect()
        })
        .collect()
}

/// The taps under the kernel, which is as wide as the grid shrinks; those outside are left out.
fn antialiased_taps(input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = 2.0 * widening;
    (0..output)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let weight = |position: usize| cubic((position as f64 + 0.5 - centre) / widening, -0.5);
            let sum: f64 = (first..end).map(weight).sum();
            (first..end).map(|position| (position, weight(position) / sum)).collect()
        })
        .collect()
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

    #[test]
    fn the_same_grid_stays_and_a_flat_one_stays_flat() {
        let own: Vec<f32> = (0..5 * 5 * 2).map(|value| (value as f32 * 0.7).sin()).collect();
        for antialias in [false, true] {
            for (found, expected) in stretch(&own, 5, 5, 5, antialias).into_iter().zip(&own) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
            for (rows, columns) in [(3, 7), (9, 1), (2, 2)] {
                let flat = stretch(&[0.75; 4 * 4 * 3], 4, rows, columns, antialias);
                assert_eq!(flat.len(), rows * columns * 3);
                assert!(flat.iter().all(|value| (value - 0.75).abs() < 1e-6));
            }
        }
    }

    /// `torch.nn.functional.interpolate(torch.arange(16.).sin().view(1, 1, 4, 4), (2, 3), mode="bicubic")`, and
    /// the same with `antialias=True`.
    #[test]
    fn values_are_torchs() {
        let own: Vec<f32> = (0..16u8).map(|value| f64::from(value).sin() as f32).collect();
        for (antialias, expected) in [(false, PLAIN), (true, ANTIALIASED)] {
            for (found, expected) in stretch(&own, 4, 2, 3, antialias).into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
    const PLAIN: [f64; 6] = [-0.500326904, 0.089386179, 0.532738513, 0.418290998, 0.435637985, -0.260327789];
    const ANTIALIASED: [f64; 6] =
        [-0.173869481, 0.088780312, 0.225204071, 0.151897097, 0.198615678, -0.037053455];
}
