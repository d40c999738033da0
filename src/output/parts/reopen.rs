//! A finished archive, made ready to take more images.
//!
//! Its files stay as they are until the larger archive is whole. What is put together beside them is what a run would have left that
//! was killed after the last image: first under a name that nobody reads, then renamed, so that it is there whole or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use same_file::Handle;

use super::{
    finished::files_of,
    layout::{Held, Layout},
    line::{JOURNAL, Line},
    names::Names,
    resume::Resumed,
    shard::copy,
};
use crate::output::{
    Contents, OutputError,
    disk::{hidden_sibling, journal::Journal, make_own_directory, parent, sync_directory},
};

/// Puts an unfinished archive of the same images in the finished one's place beside it; gives its journal, open, and its state. A
/// file's header gets at least `room` bytes.
///
/// # Errors
/// The files are not what their headers say, another process does the same, or the disk is full or fails; then all is as it was.
pub(super) fn reopen(
    names: &Names,
    layout: &dyn Layout,
    contents: &Contents,
    room: usize,
) -> Result<(Journal, Resumed), OutputError> {
    let io_error = |source| OutputError::Io { path: names.path.clone(), source };
    let directory = hidden_sibling(&names.path, ".reopened");
    make_own_directory(&directory).map_err(io_error)?;
    let (mut journal, _) =
        Journal::open::<Line>(&directory.join(JOURNAL)).map_err(|error| error.at(&names.path))?;
    let before = files_of(names, layout)?;
    let seen = |files: &[PathBuf]| files.iter().map(|file| Handle::from_path(file).ok()).collect::<Vec<_>>();
    let before = (seen(&before), before);
    let filled = fill(names, layout, contents, room, &directory, &mut journal).and_then(|resumed| {
        journal.sync()?;
        // Fails where another process has begun.
        fs::rename(&directory, names.unfinished()).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                OutputError::Busy { path: names.path.clone() }
            }
            _ => io_error(source),
        })?;
        let after = files_of(names, layout)?;
        if before != (seen(&after), after) {
            // What was copied lacks what another process has added.
            let _ = fs::remove_dir_all(names.unfinished());
            return Err(OutputError::Busy { path: names.path.clone() });
        }
        sync_directory(parent(&names.path)).map_err(io_error)?;
        Ok(resumed)
    });
    match filled {
        Ok(resumed) => Ok((journal.moved(names.journal()), resumed)),
        Err(error) => {
            let _ = fs::remove_dir_all(&directory); // it may be large, and is of no use
            Err(error.at(&names.path))
        }
    }
}

fn fill(
    names: &Names,
    layout: &dyn Layout,
    contents: &Contents,
    room: usize,
    directory: &Path,
    journal: &mut Journal,
) -> Result<Resumed, OutputError> {
    let io_error = |source| OutputError::Io { path: names.path.clone(), source };
    let files = files_of(names, layout)?;
    let held = layout.held(names, &files, contents)?;
    // The last file goes on in its copy, whose header keeps its room at least.
    let room = held.last().map_or(room, |last| room.max(layout.room_before(last.start)));
    journal.truncate(0)?;
    let mut lines = vec![Line::Start { settings: contents.settings.clone(), room }];
    for (number, (file, Held { start, images })) in files.iter().zip(held).enumerate() {
        let shard = directory.join(format!("shard-{:05}", number + 1));
        let is_last = number + 1 == files.len();
        if is_last {
            copy(file, start, &shard, layout.data_start(room), &mut |from, to| {
                for (key, tensors) in &images {
                    let bytes = tensors.iter().map(|entry| entry.bytes(contents.dtype)).sum();
                    let crc = super::shard::pass(from, to, bytes)?;
                    lines.push(Line::Image { key: key.clone(), tensors: tensors.clone(), crc });
                }
                Ok(())
            })
            .map_err(io_error)?;
        } else {
            link(file, &shard).map_err(io_error)?;
            // Never read again: a sealed shard is believed.
            let line = |(key, tensors)| Line::Image { key, tensors, crc: 0 };
            lines.extend(images.into_iter().map(line));
            lines.push(Line::Sealed { shard: number + 1 });
        }
    }
    let mut ends = Vec::new();
    for line in lines {
        let end = journal.append(&line)?;
        ends.push((line, end));
    }
    Resumed::of(&ends, contents.dtype)
        .ok_or_else(|| io_error(io::Error::other("the copy of its journal does not hold together")))
}

/// The same file under another name, or a copy where the disk has no links.
fn link(file: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(file, to).or_else(|_| {
        fs::copy(file, to)?;
        File::open(to)?.sync_all()
    })
}
