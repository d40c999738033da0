//! Named tensors in one `.safetensors`, under their image's key and, where an image has several, their own name below that.

use std::{borrow::Cow, io};

use super::Layout;
use crate::output::{
    Contents, Image,
    disk::DiskFile,
    format::safetensors::{Header, LARGEST_HEADER, line_bytes, start_after},
    manifest::{FileState, Held},
};

#[derive(Debug)]
pub(super) struct Archive;

/// The name of a tensor in the header.
pub(in crate::output) fn name<'a>(key: &'a str, tensor: Option<&str>) -> Cow<'a, str> {
    match tensor {
        None => key.into(),
        Some(tensor) => format!("{key}/{tensor}").into(),
    }
}

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

    fn line_bytes(&self, contents: &Contents, key: u64, shapes: &[&[usize]], at: u64) -> u64 {
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

    fn seal(&self, file: &mut DiskFile, contents: &Contents, state: &FileState) -> io::Result<()> {
        let mut header = Header::new(&contents.settings, contents.dtype);
        for held in &state.held {
            for (tensor, shape) in contents.apart().zip(&held.shapes) {
                header.add(&name(&held.key, tensor), shape);
            }
        }
        file.write_start(&header.frame(state.start)?)
    }
}
