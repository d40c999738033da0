//! The header of a safetensors file, or what lies in the file's place.

use std::{fs::File, io, path::Path};

use safetensors::tensor::Metadata;

use crate::{
    model::{
        error::ModelError,
        index::check_count,
        pickle::{self, REFUSED},
    },
    read_at::read_exact_at,
};

/// The format allows 100 MB. Of the checkpoints there are, none comes near: 1000 tensors take 0.1 MB.
const LARGEST_HEADER: u64 = 25 << 20;

/// The header and the offset at which the tensors begin.
pub(super) fn read_header(file: &File, path: &Path) -> Result<(Metadata, u64), ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("was cut short while its header was read".into()),
        _ => ModelError::Io { path: path.to_owned(), source },
    };
    let kind = file.metadata().map_err(io_error)?;
    if !kind.is_file() {
        return Err(corrupt("not a regular file".into()));
    }
    let file_len = kind.len();
    let mut len = [0u8; 8];
    if file_len < 8 {
        return Err(corrupt(format!("{file_len} bytes are too few for a safetensors file")));
    }
    read_exact_at(file, &mut len, 0).map_err(io_error)?;
    let beginning = len;
    let len = u64::from_le_bytes(len);
    if len <= file_len - 8 && len > LARGEST_HEADER {
        return Err(corrupt(format!("has a header of {len} bytes, expected at most {LARGEST_HEADER}")));
    }
    if len > file_len - 8 {
        return Err(instead(path, beginning).unwrap_or_else(|| {
            corrupt(format!("not a safetensors file, or a damaged one: it announces a header of {len} bytes"))
        }));
    }
    let mut header = vec![0u8; len as usize];
    read_exact_at(file, &mut header, 8).map_err(io_error)?;
    // The name's, and those of dtype, shape and data_offsets.
    check_count(&header, 4).map_err(corrupt)?;
    // Deserializing checks that offsets are contiguous and fit the shapes.
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| corrupt(format!("corrupt safetensors header: {error}")))?;
    let expected = 8 + len + metadata.data_len() as u64;
    if expected != file_len {
        return Err(corrupt(format!(
            "{} safetensors file: {file_len} bytes, its header says {expected}",
            if file_len < expected { "truncated" } else { "overlong" }
        )));
    }
    Ok((metadata, 8 + len))
}

/// What a file is that begins so, where that is known and no safetensors file.
fn instead(path: &Path, beginning: [u8; 8]) -> Option<ModelError> {
    let again = "download the file itself again; what lies there may say why it did not come";
    let (reason, hint) = match &beginning {
        b"version " => {
            ("a Git LFS pointer, in place of the file that it stands for".into(), "git lfs pull".into())
        }
        [b'<', b'!' | b'h' | b'H' | b'?', ..] => ("a web page, not a safetensors file".into(), again.into()),
        [b'{', ..] => ("a JSON text, not a safetensors file".into(), again.into()),
        // torch's own archive, and what it wrote before it had one.
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            let from = path.display().to_string();
            (format!("not a safetensors file, but {REFUSED}"), pickle::by_torch(&from, &from))
        }
        _ => return None,
    };
    Some(ModelError::NotACheckpoint { path: path.to_owned(), reason, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_place_of_a_safetensors_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        for (bytes, reason, hint) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:0"[..],
                "Git LFS pointer",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html>", "a web page", "again"),
            (b"<html><body>", "a web page", "again"),
            (b"{\"error\": \"not found\"}", "a JSON text", "again"),
            (b"PK\x03\x04\0\0\x08\x08archive/data.pkl", "a pickle", "torch.load"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j", "a pickle", "torch.load"),
            (b"some other text", "announces a header", ""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read_header(&File::open(&path).unwrap(), &path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(hint), "{error}");
        }
    }
}
