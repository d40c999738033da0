//! How one tensor lies in another.

/// How a tensor of the tower lies in a tensor of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model::weights) enum Form {
    /// As it is.
    Whole,
    /// Behind this many dimensions of 1.
    Leading(usize),
    /// As one of `of` equal parts that lie one below another, counted from 0.
    Part { index: usize, of: usize },
    /// The file's tensor is `count` of the `of` equal parts of the tower's, from the part `first` on.
    Stacked { first: usize, count: usize, of: usize },
    /// Rows as columns.
    Transposed,
}

impl Form {
    /// The shape that the file's tensor must have, for the tower's to have `shape`.
    pub(in crate::model::weights) fn in_file(self, shape: &[usize]) -> Vec<usize> {
        let rows = |rows: usize| shape.iter().take(1).map(move |_| rows).chain(shape.iter().skip(1).copied());
        let first = shape.first().copied().unwrap_or_default();
        match self {
            Self::Whole => shape.to_vec(),
            Self::Leading(count) => vec![1; count].into_iter().chain(shape.iter().copied()).collect(),
            Self::Part { of, .. } => rows(first.saturating_mul(of)).collect(),
            Self::Stacked { count, of, .. } => rows(first / of * count).collect(),
            Self::Transposed => shape.iter().rev().copied().collect(),
        }
    }

    /// The shape of the tower's tensor, where the file's has `shape`. Whether that is one which the tower takes is not asked.
    pub(in crate::model::weights) fn in_tower(self, shape: &[usize]) -> Vec<usize> {
        let rows = |rows: usize| shape.iter().take(1).map(move |_| rows).chain(shape.iter().skip(1).copied());
        let first = shape.first().copied().unwrap_or_default();
        match self {
            Self::Whole => shape.to_vec(),
            Self::Leading(count) => shape.iter().skip(count).copied().collect(),
            Self::Part { of, .. } => rows(first / of).collect(),
            Self::Stacked { count, of, .. } => rows(first.saturating_mul(of) / count).collect(),
            Self::Transposed => shape.iter().rev().copied().collect(),
        }
    }

    /// Which of a file's tensor's bytes are the tower's, of `len`.
    pub(in crate::model::weights) fn bytes(self, len: u64) -> std::ops::Range<u64> {
        match self {
            Self::Part { index, of } => {
                let part = len / of as u64;
                index as u64 * part..(index as u64 + 1) * part
            }
            _ => 0..len,
        }
    }
}

/// The elements of a matrix (rows, columns), `size` bytes each, with rows as columns.
pub(in crate::model::weights) fn transpose(
    bytes: &[u8],
    [rows, columns]: [usize; 2],
    size: usize,
) -> Vec<u8> {
    let mut transposed = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            transposed.extend_from_slice(&bytes[at..at + size]);
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_go_there_and_back() {
        for (form, tower, file) in [
            (Form::Whole, vec![4, 6], vec![4, 6]),
            (Form::Leading(2), vec![6], vec![1, 1, 6]),
            (Form::Part { index: 1, of: 3 }, vec![4, 6], vec![12, 6]),
            (Form::Part { index: 1, of: 3 }, vec![4], vec![12]),
            (Form::Stacked { first: 1, count: 2, of: 3 }, vec![12, 4], vec![8, 4]),
            (Form::Transposed, vec![4, 6], vec![6, 4]),
        ] {
            assert_eq!(form.in_file(&tower), file, "{form:?}");
            assert_eq!(form.in_tower(&file), tower, "{form:?}");
        }
    }

    #[test]
    fn parts_share_the_bytes_out() {
        assert_eq!(Form::Part { index: 2, of: 3 }.bytes(36), 24..36);
        assert_eq!(Form::Leading(1).bytes(36), 0..36);
    }

    #[test]
    fn rows_become_columns() {
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], [2, 3], 1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6, 7, 8], [2, 2], 2), [1, 2, 5, 6, 3, 4, 7, 8]);
    }
}
