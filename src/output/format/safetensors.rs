//! The safetensors format.
//!
//! The header is written here rather than by the crate `safetensors`, whose metadata is a hash map: its entries
//! would come in another order at each run, and the same features would be other bytes.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Dtype;
use crate::output::{Array, Metadata};

/// A tensor's line in the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::output) struct Entry {
    pub(in crate::output) key: String,
    pub(in crate::output) shape: Vec<usize>,
}

impl Entry {
    pub(in crate::output) fn bytes(&self, dtype: Dtype) -> u64 {
        let sizes = self.shape.iter().map(|&size| size as u64);
        // A journal's line may be garbled; no file is as long as this.
        sizes.fold(dtype.size() as u64, u64::saturating_mul)
    }
}

/// Writes a file of whole tensors.
pub(in crate::output) fn write(
    writer: &mut dyn Write,
    arrays: &[Array],
    dtype: Dtype,
    metadata: &Metadata,
) -> io::Result<()> {
    let entry = |array: &Array| Entry { key: array.name.clone(), shape: array.shape.clone() };
    let text = header_text(&arrays.iter().map(entry).collect::<Vec<_>>(), dtype, metadata);
    writer.write_all(&frame(&text, text.len().next_multiple_of(ALIGNMENT)))?;
    arrays.iter().try_for_each(|array| dtype.write(writer, &array.values))
}

/// The tensors' bytes start at a multiple of this.
pub(in crate::output) const ALIGNMENT: usize = 8;

/// The header's JSON, for tensors that lie one after the other.
pub(in crate::output) fn header_text(entries: &[Entry], dtype: Dtype, metadata: &Metadata) -> String {
    let name = match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::Bf16 => "BF16",
    };
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!(metadata))]);
    let mut start = 0;
    for entry in entries {
        let end = start + entry.bytes(dtype);
        let line = json!({"dtype": name, "shape": entry.shape, "data_offsets": [start, end]});
        header.insert(entry.key.clone(), line);
        start = end;
    }
    Value::Object(header).to_string()
}

/// Length and header, padded with spaces to `room` bytes after the length.
pub(in crate::output) fn frame(text: &str, room: usize) -> Vec<u8> {
    let mut bytes = (room as u64).to_le_bytes().to_vec();
    bytes.extend(text.bytes());
    bytes.resize(8 + room, b' ');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_reads_what_we_write() {
        let array =
            Array { name: "last_hidden_state".into(), shape: vec![1, 3], values: vec![1.0, -2.0, 0.5] };
        let mut metadata = Metadata::new();
        metadata.insert("model", "a \"quoted\" nåme");
        for (dtype, bytes) in [
            (Dtype::F32, vec![0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f]),
            (Dtype::F16, vec![0, 0x3c, 0, 0xc0, 0, 0x38]),
            (Dtype::Bf16, vec![0x80, 0x3f, 0, 0xc0, 0, 0x3f]),
        ] {
            let mut file = Vec::new();
            write(&mut file, std::slice::from_ref(&array), dtype, &metadata).unwrap();
            let read = ::safetensors::SafeTensors::deserialize(&file).unwrap();
            let tensor = read.tensor("last_hidden_state").unwrap();
            assert_eq!(tensor.shape(), [1, 3]);
            assert_eq!(tensor.data(), bytes);
            let (_, header) = ::safetensors::SafeTensors::read_metadata(&file).unwrap();
            assert_eq!(header.metadata().as_ref().unwrap()["model"], "a \"quoted\" nåme");
        }
    }
}
