//! The safetensors format.
//!
//! The header is written here rather than by the crate `safetensors`, whose metadata is a hash map: its entries
//! would come in another order at each run, and the same features would be other bytes.

use std::io::{self, Write};

use serde_json::json;

use super::{Array, Dtype, Metadata};

/// Writes a file with one tensor.
pub(super) fn write(
    writer: &mut dyn Write,
    array: &Array,
    dtype: Dtype,
    metadata: &Metadata,
) -> io::Result<()> {
    writer.write_all(&header(array, dtype, metadata))?;
    dtype.write(writer, &array.values)
}

/// Length and header, padded so that the elements start at a multiple of 8 bytes.
fn header(array: &Array, dtype: Dtype, metadata: &Metadata) -> Vec<u8> {
    let name = match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::Bf16 => "BF16",
    };
    // serde_json's map is sorted by key, and "__metadata__" is found by name, so order does not matter.
    let text = json!({
        "__metadata__": metadata,
        array.name.as_str(): {
            "dtype": name,
            "shape": array.shape,
            "data_offsets": [0, array.values.len() * dtype.size()],
        },
    })
    .to_string();
    let length = text.len().next_multiple_of(8);
    let mut header = (length as u64).to_le_bytes().to_vec();
    header.extend(text.bytes());
    header.resize(8 + length, b' ');
    header
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
            write(&mut file, &array, dtype, &metadata).unwrap();
            let read = ::safetensors::SafeTensors::deserialize(&file).unwrap();
            let tensor = read.tensor("last_hidden_state").unwrap();
            assert_eq!(tensor.shape(), [1, 3]);
            assert_eq!(tensor.data(), bytes);
            let (_, header) = ::safetensors::SafeTensors::read_metadata(&file).unwrap();
            assert_eq!(header.metadata().as_ref().unwrap()["model"], "a \"quoted\" nåme");
        }
    }
}
