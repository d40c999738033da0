//! What stands in a whole file of many images beside these: its head and its end, as they must be.

use std::io;

use super::{
    Dtype, Format, Head,
    format::{npy, safetensors::Header},
};
use crate::shard::{END, TarWriter};

/// The head of a file, entry by entry.
pub(crate) enum Heading {
    Stack { rows: usize, row: Vec<usize>, dtype: Dtype },
    Archive { header: Header, tensors: Vec<Option<String>> },
    Samples { settings: String },
}

impl Heading {
    /// That of a file of these settings without entries; none of a format whose files hold one image.
    pub(crate) fn new(format: Format, dtype: Dtype, head: &Head) -> Option<Self> {
        match format {
            Format::Npy => Some(Self::Stack { rows: 0, row: Vec::new(), dtype }),
            Format::Safetensors => {
                let is_split = head.tensors.len() > 1;
                let tensors = head.tensors.iter().map(|tensor| is_split.then(|| tensor.clone())).collect();
                Some(Self::Archive { header: Header::new(&head.settings, dtype), tensors })
            }
            Format::Tar => Some(Self::Samples { settings: serde_json::to_string(&head.settings).ok()? }),
            Format::Png => None,
        }
    }

    /// Whether it speaks of entries.
    pub(crate) fn names_entries(&self) -> bool {
        !matches!(self, Self::Samples { .. })
    }

    /// Adds the next entry.
    pub(crate) fn add<'a>(&mut self, key: &str, mut shapes: impl Iterator<Item = &'a [usize]>) {
        match self {
            Self::Stack { rows, row, .. } => {
                if let (Some(shape), 0) = (shapes.next(), *rows) {
                    *row = shape.to_vec();
                }
                *rows += 1;
            }
            Self::Archive { header, tensors } => {
                for (tensor, shape) in tensors.iter().zip(shapes) {
                    let name = tensor.as_ref().map(|tensor| format!("{key}/{tensor}"));
                    header.add(name.as_deref().unwrap_or(key), shape);
                }
            }
            Self::Samples { .. } => {}
        }
    }

    /// What stands before the entries, which begin at `start`, and what stands behind them.
    ///
    /// # Errors
    /// There can be no such head.
    pub(crate) fn frame(self, start: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        Ok(match self {
            Self::Stack { rows, row, dtype } => (npy::stack_header(rows, &row, dtype)?, Vec::new()),
            Self::Archive { header, .. } => (header.frame(start)?, Vec::new()),
            Self::Samples { settings } => {
                let mut head = Vec::new();
                TarWriter::new(&mut head).settings(&settings)?;
                (head, vec![0; END as usize])
            }
        })
    }
}
