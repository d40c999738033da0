//! The directories of a tree of outputs.

use std::{
    fs, io,
    path::{Component, Path},
};

use super::{parent, sync_directory};
use crate::output::OutputError;

/// Creates the directories between the root and a file, none of which may be a link.
pub(in crate::output) fn make_directories(root: &Path, file: &Path) -> Result<(), OutputError> {
    let below = parent(file).strip_prefix(root).unwrap_or(Path::new(""));
    let mut directory = root.to_owned();
    for part in below.components().filter(|part| matches!(part, Component::Normal(_))) {
        directory.push(part);
        match fs::symlink_metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(OutputError::Misplaced {
                    path: directory,
                    reason: "is in the way: not a directory, or a link that could lead outside".into(),
                });
            }
            Err(_) => {
                let made = fs::create_dir(&directory).and_then(|()| sync_directory(parent(&directory)));
                match made {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(OutputError::Io { path: directory, source: error });
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}
