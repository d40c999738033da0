//! The lines of an unfinished archive's journal.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::output::{Metadata, OutputError, format::safetensors::Entry};

/// The journal's name in an unfinished archive.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line: what the archive is made with.
    Start {
        settings: Metadata,
        /// Bytes reserved for the header of each shard.
        room: usize,
    },
    /// An image's tensors are in the shard, after what was there before.
    Image {
        key: String,
        tensors: Vec<Entry>,
        /// CRC-32 of their bytes, which a power loss may have kept from the disk.
        crc: u32,
    },
    /// The shard has its header and is on disk; another one begins.
    Sealed { shard: usize },
    /// All shards are sealed; what remains is to give them their names.
    Finished,
}

/// Refuses to go on with an archive that was begun with other settings.
pub(super) fn check_begun(begun: &Metadata, settings: &Metadata, path: &Path) -> Result<(), OutputError> {
    begun.check(settings, path, "is begun by another run, interrupted or still at work, of other settings")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::output::{Asked, Contents, Dtype, TensorSpec, choose};

    #[test]
    fn a_line_takes_no_less_than_is_said() {
        let tensors = ["a", "b"].map(|name| TensorSpec { name: name.into(), shape: Some(vec![1, 2]) });
        let contents = Contents {
            tensors: tensors.into(),
            dtype: Dtype::F32,
            settings: Metadata::new(),
            overwrite: false,
        };
        let asked = Asked { path: Some("x.safetensors".into()), several: true, ..Asked::default() };
        let said = choose(&asked).unwrap().beside_bytes(&contents, Path::new("d/cat.jpg"));
        let entry = |key: &str| Entry { key: format!("d/cat.jpg/{key}"), shape: vec![1, 2] };
        let line = Line::Image { key: "d/cat.jpg".into(), tensors: vec![entry("a"), entry("b")], crc: 7 };
        let line = serde_json::to_string(&line).unwrap() + "\n";
        let header = r#""d/cat.jpg/a":{"data_offsets":[0,8],"dtype":"F32","shape":[1,2]},"#;
        assert!(said <= (line.len() + 2 * header.len()) as u64 && said > line.len() as u64, "{said}");
    }
}
