//! Reading a manifest, which nobody need have open.

use std::{
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    path::Path,
};

use serde::Deserialize;

use super::{
    line::{Head, LONGEST_LINE, Line, VERSION},
    pieces::finish_line,
};
use crate::{
    bounded::{self, read_piece},
    output::OutputError,
};

/// Hands over the lines after the first one, as far as they are whole; gives the first one, and where the last one ends. None if there
/// is no such file.
///
/// # Errors
/// It is no manifest, or a newer one, or the disk fails.
pub(in crate::output) fn read(
    path: &Path,
    mut on: impl FnMut(Line),
) -> Result<Option<(Head, u64)>, OutputError> {
    let io_error = |source| OutputError::Io { path: path.to_owned(), source };
    let file = match bounded::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error)?,
    };
    let (head, mut end) = head_of(path, &file)?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    reader.seek(SeekFrom::Start(end)).map_err(io_error)?;
    while let Some(piece) = read_piece(&mut reader, b'\n', LONGEST_LINE).map_err(io_error)? {
        let Some(line) = piece.bytes.strip_suffix(b"\n").and_then(Line::decode) else { break };
        if let Some(name) = line.leads_outside() {
            let reason = format!("it names {name:?}, which is not below its directory");
            return Err(OutputError::Damaged { path: path.to_owned(), reason });
        }
        on(line);
        end += piece.length;
    }
    Ok(Some((head, end)))
}

/// Whether a file is a manifest of ours, of whatever version.
pub(in crate::output) fn is_manifest(path: &Path) -> bool {
    matches!(head_at(path), Ok(_) | Err(OutputError::Newer { .. }))
}

/// What the first line of a file says.
///
/// # Errors
/// As [`head_of`], and there is no such file.
pub(in crate::output) fn head_at(path: &Path) -> Result<Head, OutputError> {
    let file = bounded::open(path).map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
    head_of(path, &file).map(|(head, _)| head)
}

/// What the first line says, and where the second one begins.
///
/// # Errors
/// It is no manifest, or a newer one, or the disk fails.
pub(in crate::output) fn head_of(path: &Path, file: &File) -> Result<(Head, u64), OutputError> {
    let mut line = Vec::new();
    finish_line(file, 0, &mut line).map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
    let end = line.len() as u64;
    let whole = if line.pop() == Some(b'\n') { line.as_slice() } else { &[] };
    Ok((head(path, whole)?, end))
}

/// What the first line says.
fn head(path: &Path, line: &[u8]) -> Result<Head, OutputError> {
    #[derive(Deserialize)]
    struct Versioned {
        manifest: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    if let Some(Line::Manifest(head)) = Line::decode(line)
        && head.version == VERSION
    {
        return Ok(head);
    }
    let path = path.to_owned();
    if let Ok(Versioned { manifest: Version { version } }) = serde_json::from_slice(line)
        && version > VERSION
    {
        return Err(OutputError::Newer { path, version, known: VERSION });
    }
    Err(OutputError::Taken { path, reason: "exists, and is no manifest of clip-features".into() })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{
        super::line::{End, Failed, TarRead},
        *,
    };
    use crate::output::{InputFacts, Metadata};

    /// A line of any kind that needs no other before it, with any words.
    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        let words = (".{0,20}", ".{0,20}", "[a-z]{1,9}", any::<i64>(), 0..6);
        words.prop_map(|(key, path, file, number, kind)| {
            let input = InputFacts { path, modified_ns: Some(number), ..InputFacts::default() };
            match kind {
                0 => Line::Begin { tool_version: key, compute: Some(file) },
                1 => Line::Next { file },
                2 => Line::Failed(Failed {
                    key,
                    tar: None,
                    input,
                    stage: file,
                    defect: None,
                    reason: "\n".into(),
                }),
                3 => Line::Tar(TarRead { key, input, damage: None }),
                4 => Line::Sealed { file, length: number.unsigned_abs() },
                _ => Line::End(End::Stopped),
            }
            .encode()
        })
    }

    proptest! {
        #[test]
        fn of_any_beginning_the_whole_lines_are_read_as_they_were_written(
            lines in vec(any_line(), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("m");
            let head = head_line();
            let written = lines.concat();
            let cut = cut.index(written.len() + 1);
            std::fs::write(&path, [&head, &written[..cut]].concat()).unwrap();
            let mut found = Vec::new();
            let (_, end) = read(&path, |line| found.push(line.encode())).unwrap().unwrap();
            let ends = lines.iter().scan(0, |end, line| {
                *end += line.len();
                Some(*end)
            });
            let whole = ends.take_while(|&end| end <= cut).count();
            prop_assert_eq!(&found, &lines[..whole]);
            prop_assert_eq!(end as usize, head.len() + found.concat().len());
        }
    }

    fn head_line() -> Vec<u8> {
        let head = Head {
            version: VERSION,
            layout: "npy".into(),
            tensors: vec!["t".into()],
            keep_extension: false,
            settings: Metadata::default(),
        };
        Line::Manifest(head).encode()
    }

    #[test]
    fn what_is_cut_off_or_garbled_and_all_after_it_has_not_happened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        let one = Line::End(super::super::End::Complete).encode();
        let whole = [head_line(), one.clone(), one.clone(), one].concat();
        let count = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut count = 0;
            let (_, end) = read(&path, |_| count += 1).unwrap().unwrap();
            (count, end)
        };
        assert_eq!(count(&whole), (3, whole.len() as u64));
        let length = (whole.len() - head_line().len()) / 3;
        let second_end = whole.len() - length;
        assert_eq!(count(&whole[..whole.len() - 1]), (2, second_end as u64));
        let mut garbled = whole.clone();
        garbled[second_end - length / 2] = 0;
        assert_eq!(count(&garbled), (1, (second_end - length) as u64));
        // A hole of a gigabyte: what is kept of the line is no more than the limit.
        std::fs::write(&path, &whole).unwrap();
        File::options().append(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let mut count = 0;
        assert_eq!(read(&path, |_| count += 1).unwrap().unwrap().1, whole.len() as u64);
        assert_eq!(count, 3);
    }

    #[test]
    fn what_is_no_manifest_or_of_another_version_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m");
        assert!(read(&path, |_| ()).unwrap().is_none() && !is_manifest(&path));
        for (text, part, is_ours) in [
            ("", "is no manifest of clip-features", false),
            ("mine\n", "is no manifest of clip-features", false),
            ("{\"path\":\"a.png\",\"caption\":\"a cat\"}\n", "is no manifest of clip-features", false),
            ("{\"manifest\":{\"version\":2,\"what\":7},\"crc32\":\"00000000\"}\n", "a newer version", true),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path, |_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert_eq!(is_manifest(&path), is_ours, "{text}");
        }
        std::fs::write(&path, head_line()).unwrap();
        assert!(is_manifest(&path));
    }
}
