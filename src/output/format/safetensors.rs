//! The safetensors format.
//!
//! The header is written here rather than by the crate `safetensors`, whose metadata is a hash map: its entries
//! would come in another order at each run, and the same features would be other bytes.

use std::io::{self, Write};

use super::Dtype;
use crate::output::{Array, Metadata};

/// The header's text can be no longer: that is the limit of the format's own readers (`MAX_HEADER_SIZE`).
pub(in crate::output) const LARGEST_HEADER: u64 = 100_000_000;

/// The tensors' bytes start at a multiple of this.
pub(in crate::output) const ALIGNMENT: u64 = 8;

/// The header's JSON, which grows tensor by tensor; these lie one after the other.
#[derive(Debug)]
pub(crate) struct Header {
    text: String,
    /// Where the next tensor begins.
    end: u64,
    dtype: Dtype,
}

impl Header {
    /// A header without tensors.
    pub(in crate::output) fn new(metadata: &Metadata, dtype: Dtype) -> Self {
        let metadata = serde_json::to_string(metadata).expect("metadata have only string keys");
        Self { text: format!("{{\"__metadata__\":{metadata}"), end: 0, dtype }
    }

    /// Adds the next tensor.
    pub(in crate::output) fn add(&mut self, key: &str, shape: &[usize]) {
        let (start, end) = (self.end, self.end.saturating_add(self.dtype.bytes(shape)));
        let key = serde_json::to_string(key).expect("a string");
        self.text += &line(&key, shape, start, end, self.dtype);
        self.end = end;
    }

    /// Bytes of its text.
    pub(in crate::output) fn len(&self) -> u64 {
        self.text.len() as u64 + 1
    }

    /// Its length and it, padded with spaces up to `start`, where the tensors begin.
    ///
    /// # Errors
    /// It does not fit.
    pub(in crate::output) fn frame(mut self, start: u64) -> io::Result<Vec<u8>> {
        if start_after(self.len()) > start {
            return Err(io::Error::other("the header is larger than the room that it was given"));
        }
        self.text.push('}');
        let mut bytes = (start - 8).to_le_bytes().to_vec();
        bytes.extend(self.text.bytes());
        bytes.resize(start as usize, b' ');
        Ok(bytes)
    }
}

/// Where tensors begin after a header of so many bytes.
pub(in crate::output) fn start_after(header: u64) -> u64 {
    8 + header.next_multiple_of(ALIGNMENT)
}

/// A tensor in the header, given its key as JSON.
fn line(key: &str, shape: &[usize], start: u64, end: u64, dtype: Dtype) -> String {
    let name = name(dtype);
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    format!(",{key}:{{\"dtype\":\"{name}\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}")
}

/// What the format calls a type.
pub(in crate::output) fn name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::Bf16 => "BF16",
    }
}

/// Bytes of [`line`].
pub(in crate::output) fn line_bytes(key: u64, shape: &[usize], start: u64, end: u64, dtype: Dtype) -> u64 {
    key + line("", shape, start, end, dtype).len() as u64
}

/// The header of a file of whole tensors, and where these begin.
fn header(arrays: &[Array], dtype: Dtype, metadata: &Metadata) -> io::Result<Vec<u8>> {
    let mut header = Header::new(metadata, dtype);
    arrays.iter().for_each(|array| header.add(&array.name, &array.shape));
    let start = start_after(header.len());
    header.frame(start)
}

/// Writes a file of whole tensors.
pub(in crate::output) fn write(
    writer: &mut dyn Write,
    arrays: &[Array],
    dtype: Dtype,
    metadata: &Metadata,
) -> io::Result<()> {
    writer.write_all(&header(arrays, dtype, metadata)?)?;
    arrays.iter().try_for_each(|array| dtype.write(writer, &array.values))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::{
        collection::{btree_map, vec},
        prelude::*,
    };

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_the_crate_reads(
            shapes in btree_map("[^_]{1,9}", vec(0..4usize, 0..4), 0..5),
            settings in btree_map(".{0,9}", ".{0,9}", 0..4),
            room in 0..3u64,
        ) {
            let mut metadata = Metadata::default();
            settings.iter().for_each(|(key, value)| metadata.insert(key, value));
            let mut header = Header::new(&metadata, Dtype::F32);
            let mut end = 0;
            let mut places = BTreeMap::new();
            for (key, shape) in &shapes {
                let begin = end;
                end += 4 * shape.iter().product::<usize>();
                places.insert(key.clone(), (shape.clone(), (begin, end)));
                header.add(key, shape);
            }
            let start = start_after(header.len()) + room * ALIGNMENT;
            let mut file = header.frame(start).unwrap();
            prop_assert_eq!(file.len() as u64, start);
            file.resize(file.len() + end, 0);
            let (length, read) = ::safetensors::SafeTensors::read_metadata(&file).unwrap();
            prop_assert_eq!(length as u64, start - 8);
            let tensors = read.tensors().into_iter();
            let tensors: BTreeMap<_, _> =
                tensors.map(|(key, info)| (key, (info.shape.clone(), info.data_offsets))).collect();
            prop_assert_eq!(tensors, places);
            let written: HashMap<_, _> = settings.into_iter().collect();
            prop_assert_eq!(read.metadata().clone().unwrap_or_default(), written);
        }
    }

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

    #[test]
    fn a_line_takes_as_much_as_is_said() {
        let mut header = Header::new(&Metadata::new(), Dtype::F16);
        let mut expected = header.len();
        for (key, shape) in [("a", &[1, 2][..]), ("b \"c\"\u{1}", &[3, 40, 500]), ("ü", &[])] {
            let (start, end) = (header.end, header.end + Dtype::F16.bytes(shape));
            let escaped = serde_json::to_string(key).unwrap().len() as u64;
            expected += line_bytes(escaped, shape, start, end, Dtype::F16);
            header.add(key, shape);
        }
        assert_eq!(header.len(), expected);
        let start = start_after(expected);
        assert_eq!(header.frame(start).unwrap().len() as u64, start);
        let mut larger = Header::new(&Metadata::new(), Dtype::F16);
        larger.add(&"x".repeat(start as usize), &[1]);
        larger.frame(start).unwrap_err();
    }
}
