//! Named tensors in one `.safetensors`, under their image's key and, where an image has several, their own name below that.

use super::Layout;
use crate::output::{
    Contents, Image,
    format::safetensors::{Header, LARGEST_HEADER, line_bytes, start_after},
    manifest::Held,
};

#[derive(Debug)]
pub(super) struct Archive;

impl Layout for Archive {
    fn head_bytes(&self, contents: &Contents) -> u64 {
        Header::new(&contents.settings, contents.dtype).len()
    }

    fn start(&self, head: u64) -> u64 {
        start_after(head)
    }

    fn largest_start(&self) -> u64 {
        8 + LARGEST_HEADER
    }

    fn line_bytes(
        &self,
        contents: &Contents,
        key: u64,
        shapes: &mut dyn Iterator<Item = &[usize]>,
        at: u64,
    ) -> u64 {
        let mut start = at;
        contents
            .apart()
            .zip(shapes)
            .map(|(tensor, shape)| {
                let end = start + contents.dtype.bytes(shape);
                let name = key + tensor.map_or(0, |tensor| 1 + tensor.len() as u64);
                let bytes = line_bytes(name, shape, start, end, contents.dtype);
                start = end;
                bytes
            })
            .sum()
    }

    fn admits(&self, _first: Option<&Held>, image: &Image<'_>, _name: &str) -> Result<(), String> {
        match image.key {
            "__metadata__" => Err("cannot hold an entry __metadata__".into()),
            _ => Ok(()),
        }
    }
}
