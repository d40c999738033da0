//! Manifests as a reader needs them: which image lies where, in little memory.
//!
//! Of an entry nothing is kept but its key and where its line is; the line is read again when the entry is asked for. So a million
//! images take some 90 MB, and to open them is to read their manifest once, on a few threads.

use std::{collections::HashMap, fs::File, hash::BuildHasher, io, path::Path};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    line::{Entry, Head, Line},
    pieces::{Brief, Ending, Piece, pieces},
    read::head_of,
    shared_file::SharedFile,
};
use crate::{output::OutputError, read_at::read_exact_at};

/// The entries of manifests, which are followed one after the other.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Every entry that was ever written and is not known to be void, in order.
    slots: Vec<Slot>,
    /// The keys, one after the other.
    keys: Vec<u8>,
    hasher: DefaultHashBuilder,
    /// The latest slot of each key.
    by_key: HashTable<u32>,
    /// The slots that count, in order.
    order: Vec<u32>,
    /// Where entries lie.
    pub(crate) homes: Vec<Home>,
    /// Keys that were found in two outputs.
    pub(crate) twice: Option<Twice>,
}

/// A key that is in two outputs, and how many more are.
#[derive(Debug)]
pub(crate) struct Twice {
    pub(crate) key: String,
    pub(crate) outputs: [usize; 2],
}

/// An entry.
#[derive(Clone, Copy, Debug)]
struct Slot {
    line: EntryLine,
    key: u64,
    key_bytes: u32,
    home: u32,
}

/// The place of an entry among the slots.
pub(crate) type SlotPlace = u32;

/// A file of many entries, or all files of single images that a manifest speaks of.
#[derive(Debug)]
pub(crate) struct Home {
    /// Which manifest, and of which output.
    pub(crate) manifest: usize,
    output: usize,
    /// None of files of single images.
    pub(crate) file: Option<SharedFile<SlotPlace>>,
}

/// What a manifest says of the whole.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) head: Head,
    /// Whether the last run came to its end, and nothing was written since.
    pub(crate) has_ended: bool,
    pub(crate) ending: Ending,
}

impl Index {
    /// Follows a manifest: the `manifest`th one, of the `output`th output.
    ///
    /// # Errors
    /// It is no manifest, or a newer one, or the disk fails.
    pub(crate) fn follow(
        &mut self,
        path: &Path,
        file: &File,
        manifest: usize,
        output: usize,
    ) -> Result<Followed, OutputError> {
        let io_error = |source| OutputError::Io { path: path.to_owned(), source };
        let (head, begin) = head_of(path, file)?;
        let is_shared = !head.layout.starts_with("directory of ");
        let own = (!is_shared).then_some(self.homes.len() as u32);
        self.homes.extend(own.map(|_| Home { manifest, output, file: None }));
        let by_name = HashMap::new();
        let mut merge = Merge { index: self, manifest, output, own, by_name, has_ended: false };
        let hasher = merge.index.hasher.clone();
        let length = file.metadata().map_err(io_error)?.len();
        let mut ending = Ending::Whole;
        for batch in pieces(begin, length) {
            let parsed = Piece::parse_all(file, &batch, is_shared, &hasher).map_err(io_error)?;
            for piece in parsed {
                ending = piece.ending;
                merge.take(piece, length - begin);
                if ending != Ending::Whole {
                    break;
                }
            }
            if ending != Ending::Whole {
                break;
            }
        }
        let has_ended = merge.has_ended;
        Ok(Followed { head, has_ended, ending })
    }

    /// Says which entries count, when all manifests were followed.
    pub(crate) fn settle(&mut self) {
        self.order = (0..self.slots.len() as u32).filter(|&slot| self.counts(slot)).collect();
    }

    fn counts(&self, slot: u32) -> bool {
        let key = self.key_of(slot);
        self.by_key.find(self.hasher.hash_one(key), |&found| found == slot).is_some()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The key of an entry by its place.
    pub(crate) fn key(&self, place: usize) -> Option<&str> {
        let slot = *self.order.get(place)?;
        Some(std::str::from_utf8(self.key_of(slot)).expect("it was text when it was read"))
    }

    /// The place of an entry by its key.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let slot = self.by_key.find(hash, |&slot| self.key_of(slot) == key.as_bytes())?;
        self.order.binary_search(slot).ok()
    }

    /// Where an entry lies, and where its line is.
    pub(crate) fn entry(&self, place: usize) -> Option<(u32, EntryLine)> {
        let slot = self.slots[*self.order.get(place)? as usize];
        Some((slot.home, slot.line))
    }

    /// The lines of a file's entries, in the order in which they lie.
    pub(crate) fn held(&self, home: u32) -> impl Iterator<Item = EntryLine> {
        let held = self.homes[home as usize].file.iter().flat_map(|file| &file.held);
        held.map(|&slot| self.slots[slot as usize].line)
    }

    /// Leaves out a file's entries after the first ones.
    pub(crate) fn void(&mut self, home: u32, keep: usize) {
        let Some(file) = &mut self.homes[home as usize].file else { return };
        let void = file.void(keep);
        void.into_iter().for_each(|slot| self.forget(slot));
    }

    /// Leaves out entries of which `keeps` says so, by where they lie and where their lines are.
    pub(crate) fn retain(&mut self, keeps: impl Fn(u32, EntryLine) -> bool) {
        for slot in 0..self.slots.len() as u32 {
            let Slot { home, line, .. } = self.slots[slot as usize];
            if self.counts(slot) && !keeps(home, line) {
                self.forget(slot);
            }
        }
    }

    fn key_of(&self, slot: u32) -> &[u8] {
        let Slot { key, key_bytes, .. } = self.slots[slot as usize];
        &self.keys[key as usize..][..key_bytes as usize]
    }

    fn forget(&mut self, slot: u32) {
        let hash = self.hasher.hash_one(self.key_of(slot));
        if let Ok(found) = self.by_key.find_entry(hash, |&found| found == slot) {
            found.remove();
        }
    }
}

/// Where an entry's line is in its manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryLine {
    offset: u64,
    bytes: u32,
}

impl EntryLine {
    /// Reads it again.
    ///
    /// # Errors
    /// The manifest is not what it was, or the disk fails.
    pub(crate) fn read(self, manifest: &File) -> io::Result<Entry> {
        let mut line = vec![0; self.bytes as usize];
        read_exact_at(manifest, &mut line, self.offset)?;
        match Line::decode(&line) {
            Some(Line::Entry(entry)) => Ok(entry),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The lines of a manifest on their way into an index.
struct Merge<'a> {
    index: &'a mut Index,
    manifest: usize,
    output: usize,
    /// The home of files of single images; none where files hold many.
    own: Option<u32>,
    by_name: HashMap<String, u32>,
    has_ended: bool,
}

impl Merge<'_> {
    fn take(&mut self, piece: Piece, bytes: u64) {
        let Piece { briefs, keys, files, others, parsed, .. } = piece;
        self.reserve(briefs.len(), keys.len(), parsed, bytes);
        let first_key = self.index.keys.len() as u64;
        self.index.keys.extend(&keys);
        // Files are found by their names when they are first spoken of, not for every entry.
        let mut homes = vec![None; files.len()];
        let mut others = others.into_iter().peekable();
        for (place, brief) in briefs.iter().enumerate() {
            while let Some((_, line)) = others.next_if(|(before, _)| *before <= place) {
                self.follow(line);
            }
            self.has_ended = false;
            let file = brief.file as usize;
            let home =
                self.own.unwrap_or_else(|| *homes[file].get_or_insert_with(|| self.home(&files[file])));
            self.enter(brief, first_key + brief.key, home);
        }
        others.for_each(|(_, line)| self.follow(line));
    }

    /// Makes room for all that is to come when the first piece of it is known, so that nothing is moved later.
    fn reserve(&mut self, entries: usize, keys: usize, parsed: u64, bytes: u64) {
        let index = &mut *self.index;
        if parsed == 0 || index.slots.capacity() - index.slots.len() >= entries {
            return;
        }
        let of_all = |of_piece: usize| (of_piece as u128 * u128::from(bytes) / u128::from(parsed)) as usize;
        index.slots.reserve(of_all(entries));
        index.keys.reserve(of_all(keys));
        let Index { slots, keys, hasher, by_key, .. } = index;
        by_key.reserve(of_all(entries), |&slot| {
            let Slot { key, key_bytes, .. } = slots[slot as usize];
            hasher.hash_one(&keys[key as usize..][..key_bytes as usize])
        });
    }

    fn enter(&mut self, brief: &Brief, key: u64, home: u32) {
        let Index { slots, keys, hasher, by_key, homes, twice, .. } = &mut *self.index;
        let slot = slots.len() as u32;
        let line = EntryLine { offset: brief.line, bytes: brief.line_bytes };
        slots.push(Slot { line, key, key_bytes: brief.key_bytes, home });
        if let Some(file) = &mut homes[home as usize].file {
            file.held.push(slot);
        }
        let key_of = |slot: u32| {
            let Slot { key, key_bytes, .. } = slots[slot as usize];
            &keys[key as usize..][..key_bytes as usize]
        };
        let own = key_of(slot);
        let entry =
            by_key.entry(brief.hash, |&found| key_of(found) == own, |&found| hasher.hash_one(key_of(found)));
        match entry {
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(slot);
            }
            hashbrown::hash_table::Entry::Occupied(mut occupied) => {
                let before = &homes[slots[*occupied.get() as usize].home as usize];
                if before.manifest == self.manifest {
                    *occupied.get_mut() = slot;
                    return;
                }
                // Parts of one job that both have an image have made the same of it.
                let outputs = [before.output, self.output];
                if outputs[0] != outputs[1] && twice.is_none() {
                    *twice = Some(Twice { key: String::from_utf8_lossy(own).into_owned(), outputs });
                }
            }
        }
    }

    /// Takes in a line that is no entry.
    fn follow(&mut self, line: Line) {
        self.has_ended = false;
        match line {
            Line::File { file: name, start, held } => {
                let home = self.home(&name);
                let void = self.index.homes[home as usize].file.as_mut().map(|file| file.begin(start, held));
                void.into_iter().flatten().for_each(|slot| self.index.forget(slot));
            }
            Line::Sealed { file: name, length } => {
                if let Some(file) = self.known(&name) {
                    file.seal(length);
                }
            }
            Line::Dropped { file: name } => {
                let void = self.known(&name).map(SharedFile::give_up);
                void.into_iter().flatten().for_each(|slot| self.index.forget(slot));
            }
            Line::End(end) => self.has_ended = end == super::End::Complete,
            _ => {}
        }
    }

    /// The file of a name, if it was begun.
    fn known(&mut self, name: &str) -> Option<&mut SharedFile<SlotPlace>> {
        let home = *self.by_name.get(name)?;
        self.index.homes[home as usize].file.as_mut()
    }

    /// The file of a name; a new one if it is new.
    fn home(&mut self, name: &str) -> u32 {
        if let Some(&home) = self.by_name.get(name) {
            return home;
        }
        let home = self.index.homes.len() as u32;
        let file = SharedFile::new(name.to_owned());
        self.index.homes.push(Home { manifest: self.manifest, output: self.output, file: Some(file) });
        self.by_name.insert(name.to_owned(), home);
        home
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Write};

    use super::{
        super::{
            line::{End, Failed, InputFacts, Place},
            state::State,
        },
        *,
    };

    fn head(layout: &str) -> Line {
        Line::Manifest(Head::new(layout.into(), vec!["t".into()], false, Default::default()))
    }

    fn entry(key: &str, file: &str) -> Line {
        let place = Place { file: file.into(), offset: 0, length: 8, crc32: 7 };
        let input = InputFacts { path: format!("in/{key}"), ..InputFacts::default() };
        Line::Entry(Entry {
            key: key.into(),
            input,
            sample: None,
            at: vec![place],
            shapes: vec![vec![2]],
            facts: None,
        })
    }

    fn failed(key: &str) -> Line {
        let (input, stage, reason) = (InputFacts::default(), "read".into(), "because".into());
        Line::Failed(Failed { key: key.into(), tar: None, input, stage, defect: None, reason })
    }

    fn begun(file: &str, held: usize) -> Line {
        Line::File { file: file.into(), start: 128, held }
    }

    fn sealed(file: &str) -> Line {
        Line::Sealed { file: file.into(), length: 144 }
    }

    /// Follows lines as both readers do, and asserts that they find the same; gives the keys in order, and how it ends.
    fn follow(bytes: &[u8]) -> (Vec<String>, Ending) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut index = Index::default();
        let followed = index.follow(file.path(), file.as_file(), 0, 0).unwrap();
        index.settle();
        let keys: Vec<String> = (0..index.len()).map(|place| index.key(place).unwrap().to_owned()).collect();
        let state = State::read(file.path()).unwrap().unwrap();
        let expected: BTreeSet<String> = state.entries.keys().map(ToString::to_string).collect();
        assert_eq!(keys.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!((followed.has_ended, followed.head), (state.has_ended, state.head));
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(index.place(key), Some(place));
            let (_, line) = index.entry(place).unwrap();
            assert_eq!(line.read(file.as_file()).unwrap().input.path, format!("in/{key}"));
        }
        assert!(index.place("no such key").is_none() && index.entry(keys.len()).is_none());
        (keys, followed.ending)
    }

    fn encoded(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(Line::encode).collect()
    }

    #[test]
    fn what_it_finds_is_what_a_writer_finds() {
        // Some hundred manifests of a few lines each, of files that are begun, grown, begun anew and sealed in any order.
        let mut random = 1_u64;
        let mut any = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for _ in 0..300 {
            let mut lines = vec![head("safetensors"), begun("x", 0), begun("y", 0)];
            for _ in 0..any(40) {
                let file = ["x", "y"][any(2)];
                let odd = ["", "\\\"\\at\":[{\"file\":\"y\"", "\u{e9}"][any(3)];
                let key = format!("{}{odd} {}", "k".repeat(any(60)), any(8));
                lines.push(match any(9) {
                    0 => begun(file, any(6)),
                    1 => sealed(file),
                    2 => failed(&key),
                    4 => Line::Dropped { file: file.into() },
                    3 => Line::End([End::Complete, End::Stopped][any(2)]),
                    _ => entry(&key, file),
                });
            }
            follow(&encoded(&lines));
        }
    }

    #[test]
    fn images_are_in_the_order_in_which_they_were_written() {
        let own = [head("directory of npy"), entry("b", "b.npy"), entry("a", "a.npy"), entry("c", "c.npy")];
        assert_eq!(follow(&encoded(&own)).0, ["b", "a", "c"]);
        // One that was made again is where it was made last.
        let again = [&encoded(&own)[..], &entry("b", "b.npy").encode()].concat();
        assert_eq!(follow(&again).0, ["a", "c", "b"]);
    }

    #[test]
    fn a_line_that_is_cut_or_another_ends_it_wherever_it_is() {
        let lines: Vec<Line> =
            (0..12).map(|place| entry(&format!("{}{place}", "k".repeat(place * 9)), "x")).collect();
        let start = encoded(&[head("npy"), begun("x", 0)]);
        let whole = [&start[..], &encoded(&lines)].concat();
        assert_eq!(follow(&whole).1, Ending::Whole);
        let mut ends = vec![start.len()];
        ends.extend(lines.iter().scan(start.len(), |end, line| {
            *end += line.encode().len();
            Some(*end)
        }));
        for (place, pair) in ends.windows(2).enumerate() {
            for at in [pair[0], (pair[0] + pair[1]) / 2, pair[1] - 2] {
                let (keys, ending) = follow(&whole[..at]);
                assert_eq!(
                    (keys.len(), ending),
                    (place, if at == pair[0] { Ending::Whole } else { Ending::Cut })
                );
                let mut other = whole.clone();
                other[at] ^= 1;
                let (keys, ending) = follow(&other);
                assert_eq!((keys.len(), ending), (place, Ending::Garbled(pair[0] as u64)), "byte {at}");
            }
        }
    }

    #[test]
    fn an_image_in_two_outputs_is_told_and_one_in_two_parts_of_a_job_is_not() {
        let files = [["a", "b"], ["b", "c"]].map(|keys| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let lines = [head("npy"), begun("x", 0), entry(keys[0], "x"), entry(keys[1], "x")];
            file.write_all(&encoded(&lines)).unwrap();
            file
        });
        let follow = |output_of: fn(usize) -> usize| {
            let mut index = Index::default();
            for (manifest, file) in files.iter().enumerate() {
                index.follow(file.path(), file.as_file(), manifest, output_of(manifest)).unwrap();
            }
            index.settle();
            index
        };
        let parts = follow(|_| 0);
        assert!(parts.twice.is_none());
        assert_eq!((parts.len(), parts.entry(1).unwrap().0), (3, 0));
        let twice = follow(|manifest| manifest).twice.unwrap();
        assert_eq!((twice.key.as_str(), twice.outputs), ("b", [0, 1]));
    }
}
