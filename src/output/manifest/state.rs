//! What a manifest comes to when its lines are followed to the end.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    line::{End, Entry, Failed, Head, InputFacts, Line, Place, Sha256Bytes, TarRead},
    read::read,
    shared_file::SharedFile,
};
use crate::output::OutputError;

/// What is written, as a manifest says.
#[derive(Debug)]
pub(in crate::output) struct State {
    pub(in crate::output) head: Head,
    /// The images that are written, by their keys.
    pub(in crate::output) entries: HashMap<Arc<str>, Stored>,
    /// The files of many entries, in the order in which they were begun.
    pub(in crate::output) files: Vec<FileState>,
    /// The file that was to be made last, whether it was begun or not.
    pub(in crate::output) next: Option<String>,
    /// The images that have no features.
    pub(in crate::output) failed: HashMap<String, Failed>,
    /// The tars that were read to their ends.
    pub(in crate::output) tars: HashMap<String, TarRead>,
    /// Whether the last run came to its end, and nothing was written since.
    pub(in crate::output) has_ended: bool,
    /// Where the last good line ends.
    pub(in crate::output) end: u64,
    by_name: HashMap<String, usize>,
    /// How many images have failed, by their tar: all of them, and those that have a defect.
    failed_in: HashMap<String, [usize; 2]>,
}

/// An image that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) struct Stored {
    pub(in crate::output) bytes: Option<u64>,
    pub(in crate::output) modified_ns: Option<i64>,
    pub(in crate::output) sha256: Option<Sha256Bytes>,
    pub(in crate::output) in_: In,
}

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) enum In {
    /// In a file of many, by its place among these, and the entry's among its.
    File(usize, usize),
    /// In files of its own, with their lengths.
    Own(Box<[(Box<str>, u64)]>),
}

/// A file of many entries, and all that is known of these.
pub(in crate::output) type FileState = SharedFile<Held>;

/// An entry of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) struct Held {
    pub(in crate::output) key: Arc<str>,
    pub(in crate::output) sample: Option<Box<str>>,
    pub(in crate::output) length: u64,
    pub(in crate::output) crc32: u32,
    pub(in crate::output) shapes: Box<[Box<[usize]>]>,
}

impl FileState {
    /// Bytes of its entries.
    pub(in crate::output) fn data(&self) -> u64 {
        self.held.iter().fold(0, |bytes, held| bytes.saturating_add(held.length))
    }
}

impl State {
    /// Follows a manifest; none if there is no such file.
    ///
    /// # Errors
    /// It is no manifest, or a newer one, or the disk fails.
    pub(in crate::output) fn read(path: &Path) -> Result<Option<Self>, OutputError> {
        let mut state = Self::new(Head {
            version: 0,
            layout: String::new(),
            tensors: Vec::new(),
            keep_extension: false,
            settings: Default::default(),
        });
        let Some((head, end)) = read(path, |line| state.follow(line))? else { return Ok(None) };
        (state.head, state.end) = (head, end);
        Ok(Some(state))
    }

    /// Nothing yet.
    pub(in crate::output) fn new(head: Head) -> Self {
        Self {
            head,
            entries: HashMap::new(),
            files: Vec::new(),
            next: None,
            failed: HashMap::new(),
            tars: HashMap::new(),
            has_ended: false,
            end: 0,
            by_name: HashMap::new(),
            failed_in: HashMap::new(),
        }
    }

    /// Takes in a line.
    pub(in crate::output) fn follow(&mut self, line: Line) {
        self.has_ended = false;
        match line {
            Line::Manifest(_) | Line::Begin { .. } => {}
            Line::Next { file } => self.next = Some(file),
            Line::File { file, start, held } => self.begin(file, start, held),
            Line::Entry(entry) => self.enter(entry),
            Line::Failed(failed) => {
                self.forget_failure(&failed.key);
                if let Some(tar) = &failed.tar {
                    let [all, with_defects] = self.failed_in.entry(tar.clone()).or_default();
                    *all += 1;
                    *with_defects += usize::from(failed.defect.is_some());
                }
                self.failed.insert(failed.key.clone(), failed);
            }
            Line::Tar(tar) => {
                self.forget_failure(&tar.key);
                self.tars.insert(tar.key.clone(), tar);
            }
            Line::Sealed { file, length } => {
                if let Some(&place) = self.by_name.get(&file) {
                    self.files[place].seal(length);
                }
            }
            Line::Dropped { file } => {
                if let Some(&place) = self.by_name.get(&file) {
                    self.give_up(place);
                }
            }
            Line::Input { key, input } => {
                if let Some(stored) = self.entries.get_mut(key.as_str()) {
                    (stored.bytes, stored.modified_ns) = (input.bytes, input.modified_ns);
                }
            }
            Line::End(end) => self.has_ended = end == End::Complete,
        }
    }

    fn begin(&mut self, name: String, start: u64, held: usize) {
        let place = self.by_name.get(&name).copied().unwrap_or_else(|| {
            self.by_name.insert(name.clone(), self.files.len());
            self.files.push(FileState::new(name));
            self.files.len() - 1
        });
        let void = self.files[place].begin(start, held);
        self.forget(place, void);
    }

    /// Forgets the entries of a file after the first ones.
    pub(in crate::output) fn void(&mut self, place: usize, keep: usize) {
        let void = self.files[place].void(keep);
        self.forget(place, void);
    }

    /// Forgets what grows; what has the name is as it was.
    pub(in crate::output) fn give_up(&mut self, place: usize) {
        let void = self.files[place].give_up();
        self.forget(place, void);
    }

    /// Forgets entries that a file had after those that it has.
    fn forget(&mut self, place: usize, void: Vec<Held>) {
        let first = self.files[place].held.len();
        for (index, held) in void.into_iter().enumerate() {
            // What is elsewhere by now stays.
            let is_here = |stored: &Stored| stored.in_ == In::File(place, first + index);
            if self.entries.get(&held.key).is_some_and(is_here) {
                self.entries.remove(&held.key);
            }
        }
    }

    fn enter(&mut self, entry: Entry) {
        let Entry { key, input, sample, at, shapes, .. } = entry;
        self.forget_failure(&key);
        let key: Arc<str> = key.into();
        let in_ = match (at.as_slice(), at.first().and_then(|place| self.by_name.get(&place.file))) {
            ([Place { length, crc32, .. }], Some(&place)) => {
                let shapes = shapes.into_iter().map(Vec::into_boxed_slice).collect();
                let file = &mut self.files[place];
                file.held.push(Held {
                    key: key.clone(),
                    sample: sample.map(Into::into),
                    length: *length,
                    crc32: *crc32,
                    shapes,
                });
                In::File(place, file.held.len() - 1)
            }
            _ => In::Own(at.into_iter().map(|place| (place.file.into(), place.length)).collect()),
        };
        let InputFacts { bytes, modified_ns, sha256, .. } = input;
        self.entries.insert(key, Stored { bytes, modified_ns, sha256, in_ });
    }

    fn forget_failure(&mut self, key: &str) {
        let Some(Failed { tar: Some(tar), defect, .. }) = self.failed.remove(key) else { return };
        if let Some([all, with_defects]) = self.failed_in.get_mut(&tar) {
            *all -= 1;
            *with_defects -= usize::from(defect.is_some());
        }
    }

    /// How many images of a tar have failed; those that have a defect may be left out.
    pub(in crate::output) fn failed_in(&self, tar: &str, with_defects: bool) -> usize {
        let [all, defects] = self.failed_in.get(tar).copied().unwrap_or_default();
        if with_defects { all } else { all - defects }
    }

    /// The file of a name.
    pub(in crate::output) fn file(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether a name is that of a file of many entries that was made whole here.
    pub(in crate::output) fn is_ours(&self, name: &str) -> bool {
        self.file(name).is_some_and(|place| self.files[place].is_ours)
    }

    /// Every file that was made whole, from where the manifest is.
    pub(in crate::output) fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.entries.values().filter_map(|stored| match &stored.in_ {
            In::Own(files) => Some(files.iter().map(|(name, _)| &**name)),
            In::File(..) => None,
        });
        let shared = self.files.iter().filter(|file| file.is_ours).map(|file| file.name.as_str());
        shared.chain(own.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, file: &str) -> Line {
        let place = Place { file: file.into(), offset: 0, length: 8, crc32: 7 };
        Line::Entry(Entry {
            key: key.into(),
            input: InputFacts::default(),
            sample: None,
            at: vec![place],
            shapes: vec![vec![1, 2]],
            facts: None,
        })
    }

    fn begun(file: &str, held: usize) -> Line {
        Line::File { file: file.into(), start: 128, held }
    }

    fn sealed(file: &str) -> Line {
        Line::Sealed { file: file.into(), length: 144 }
    }

    fn state(lines: impl IntoIterator<Item = Line>) -> State {
        let head = Head::new("npy".into(), Vec::new(), false, Default::default());
        let mut state = State::new(head);
        lines.into_iter().for_each(|line| state.follow(line));
        state
    }

    fn keys(state: &State) -> Vec<&str> {
        let mut keys: Vec<&str> = state.entries.keys().map(|key| &**key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_a_file_is_begun_anew_without_is_void() {
        let lines = || [begun("x", 0), entry("a", "x"), entry("b", "x"), sealed("x"), begun("x", 2)];
        let grown = state(lines().into_iter().chain([entry("c", "x")]));
        assert_eq!(keys(&grown), ["a", "b", "c"]);
        assert_eq!((grown.files[0].grows_from, grown.files[0].sealed), (Some(2), Some(144)));
        let again = state(lines().into_iter().chain([entry("c", "x"), begun("x", 2), entry("d", "x")]));
        assert_eq!(keys(&again), ["a", "b", "d"]);
        assert_eq!(again.files[0].grows_from, Some(2));
        // What is elsewhere by now stays.
        let moved = state([begun("x", 0), entry("a", "x"), begun("y", 0), entry("a", "y"), begun("x", 0)]);
        assert_eq!(keys(&moved), ["a"]);
        assert_eq!(moved.entries["a"].in_, In::File(1, 0));
    }

    #[test]
    fn a_run_has_ended_if_nothing_follows() {
        let end = || Line::End(End::Complete);
        assert!(state([entry("a", "a.npy"), end()]).has_ended);
        assert!(!state([end(), entry("a", "a.npy")]).has_ended);
        assert!(!state([Line::End(End::Stopped)]).has_ended);
    }
}
