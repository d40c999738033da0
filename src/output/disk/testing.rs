//! A disk that is recorded, and cut at any of its operations: what a power cut could leave behind is made from the record.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::parent;

/// Something that was done; paths are relative to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) enum Operation {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLength(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDirectory(PathBuf),
    RemoveDirectory(PathBuf),
    SyncDirectory(PathBuf),
}

/// Notes what is done below a directory, and lets one of the operations fail.
#[derive(Debug)]
pub(in crate::output) struct Recorder {
    root: PathBuf,
    operations: Mutex<Vec<Operation>>,
    count: AtomicUsize,
    fails: Option<usize>,
}

impl Recorder {
    pub(in crate::output) fn new(root: &Path, fails: Option<usize>) -> Self {
        Self { root: root.to_owned(), operations: Mutex::default(), count: AtomicUsize::new(0), fails }
    }

    /// What was done.
    pub(in crate::output) fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap().clone()
    }

    fn note(&self, operation: impl FnOnce(&dyn Fn(&Path) -> PathBuf) -> Operation) -> io::Result<()> {
        if self.fails == Some(self.count.fetch_add(1, Ordering::SeqCst)) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let relative = |path: &Path| path.strip_prefix(&self.root).expect("below the root").to_owned();
        self.operations.lock().unwrap().push(operation(&relative));
        Ok(())
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::Create(relative(path)))
    }

    pub(super) fn write(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(|relative| Operation::Write(relative(path), at, bytes.to_vec()))
    }

    pub(super) fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.note(|relative| Operation::SetLength(relative(path), length))
    }

    pub(super) fn sync(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::Sync(relative(path)))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(|relative| Operation::Rename(relative(from), relative(to)))
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::Remove(relative(path)))
    }

    pub(super) fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::MakeDirectory(relative(path)))
    }

    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::RemoveDirectory(relative(path)))
    }

    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.note(|relative| Operation::SyncDirectory(relative(path)))
    }
}

/// What survives of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) enum Model {
    /// Nothing.
    Nothing,
    /// All names, and no data.
    Names,
    /// All names, and lengths of zeros.
    Lengths,
    /// All data, and no names.
    Data,
    /// Any of the operations.
    Some(u64),
}

/// The files below a directory, with their bytes; directories have none.
pub(in crate::output) type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What is below a directory.
pub(in crate::output) fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap) {
        let bytes = entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap());
        found.insert(entry.path().strip_prefix(root).unwrap().to_owned(), bytes);
    }
    found
}

/// Makes a tree on disk, but for what lies in directories that are not there.
pub(in crate::output) fn plant(root: &Path, tree: &Tree) {
    for (path, bytes) in tree {
        let path = root.join(path);
        if !path.parent().is_some_and(Path::is_dir) {
            continue;
        }
        match bytes {
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLength(u64),
}

/// A file, whatever its names.
#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    changes: Vec<Change>,
}

impl File {
    fn with(&self, keep: &mut dyn FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in self.changes.iter().filter(|_| keep()) {
            match change {
                Change::Write(at, written) => {
                    let end = *at as usize + written.len();
                    if bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                    bytes[*at as usize..end].copy_from_slice(written);
                }
                Change::SetLength(length) => bytes.resize(*length as usize, 0),
            }
        }
        bytes
    }
}

/// What a name is of: a file, or a directory.
type Node = Option<usize>;
type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn is_in(&self, directory: &Path) -> bool {
        let is_in = |path: &Path| parent(path) == directory || path.parent() == Some(directory);
        match self {
            Self::Link(path, _) | Self::Unlink(path) => is_in(path),
            Self::Rename(from, to) => is_in(from) || is_in(to),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

/// The disk after some operations, of which the last ones may not have reached it.
pub(in crate::output) fn cut(before: &Tree, operations: &[Operation], model: Model) -> Tree {
    let mut files: Vec<File> = Vec::new();
    let mut synced = Names::new();
    for (path, bytes) in before {
        let node = bytes.as_ref().map(|bytes| {
            files.push(File { synced: bytes.clone(), changes: Vec::new() });
            files.len() - 1
        });
        synced.insert(path.clone(), node);
    }
    let mut current = synced.clone();
    let mut pending: Vec<NameChange> = Vec::new();
    for operation in operations {
        let change = match operation {
            Operation::Create(path) => {
                files.push(File::default());
                Some(NameChange::Link(path.clone(), Some(files.len() - 1)))
            }
            Operation::MakeDirectory(path) => Some(NameChange::Link(path.clone(), None)),
            Operation::Remove(path) | Operation::RemoveDirectory(path) => {
                Some(NameChange::Unlink(path.clone()))
            }
            Operation::Rename(from, to) => Some(NameChange::Rename(from.clone(), to.clone())),
            Operation::Write(path, at, bytes) => {
                files[current[path].unwrap()].changes.push(Change::Write(*at, bytes.clone()));
                None
            }
            Operation::SetLength(path, length) => {
                files[current[path].unwrap()].changes.push(Change::SetLength(*length));
                None
            }
            Operation::Sync(path) => {
                let file = &mut files[current[path].unwrap()];
                file.synced = file.with(&mut || true);
                file.changes.clear();
                None
            }
            Operation::SyncDirectory(path) => {
                pending.retain(|change| {
                    let is_in = change.is_in(path);
                    if is_in {
                        change.apply(&mut synced);
                    }
                    !is_in
                });
                None
            }
        };
        if let Some(change) = change {
            change.apply(&mut current);
            pending.push(change);
        }
    }
    let mut state = if let Model::Some(seed) = model { seed.wrapping_mul(2) + 1 } else { 1 };
    let mut toss = move || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 63 == 1
    };
    let mut names = synced;
    for change in &pending {
        let keeps = match model {
            Model::Nothing | Model::Data => false,
            Model::Names | Model::Lengths => true,
            Model::Some(_) => toss(),
        };
        if keeps {
            change.apply(&mut names);
        }
    }
    let mut bytes = |file: &File| match model {
        Model::Nothing | Model::Names => file.synced.clone(),
        Model::Data => file.with(&mut || true),
        Model::Some(_) => file.with(&mut toss),
        Model::Lengths => {
            let length = file.with(&mut || true).len();
            let mut bytes = file.synced.clone();
            bytes.resize(length, 0);
            bytes
        }
    };
    names.into_iter().map(|(path, node)| (path, node.map(|file| bytes(&files[file])))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Create, Rename, Sync, SyncDirectory, Write};

    fn there(operations: &[Operation], model: Model) -> Vec<(String, usize)> {
        let tree = cut(&Tree::new(), operations, model);
        tree.into_iter().map(|(path, bytes)| (path.display().to_string(), bytes.unwrap().len())).collect()
    }

    #[test]
    fn what_is_not_synced_may_be_lost_and_what_is_never() {
        let [a, b] = ["a", "b"].map(PathBuf::from);
        let written = [Create(a.clone()), Write(a.clone(), 0, vec![1, 2])];
        assert_eq!(there(&written, Model::Nothing), []);
        assert_eq!(there(&written, Model::Names), [("a".into(), 0)]);
        assert_eq!(there(&written, Model::Lengths), [("a".into(), 2)]);
        assert_eq!(there(&written, Model::Data), []);
        let named = [&written[..], &[Sync(a.clone()), Rename(a.clone(), b)]].concat();
        assert_eq!(there(&named, Model::Nothing), [], "data without a name");
        assert_eq!(there(&named, Model::Names), [("b".into(), 2)]);
        let lasts = [&named[..], &[SyncDirectory("".into()), Write("b".into(), 2, vec![3])]].concat();
        for seed in 0..20 {
            let found = there(&lasts, Model::Some(seed));
            assert!(found == [("b".into(), 2)] || found == [("b".into(), 3)], "{found:?}");
        }
    }
}
