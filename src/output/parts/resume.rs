//! What of an interrupted archive can be kept.

use std::collections::HashSet;

use super::{layout::Layout, line::Line, names::Names, shard::checksum};
use crate::output::{Dtype, format::safetensors::Entry};

/// The header of a safetensors file can be no larger.
const LARGEST_ROOM: usize = 100_000_000;

/// The state of an archive after the last image that is surely there.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) room: usize,
    /// Sealed shards.
    pub(super) sealed: usize,
    /// Bytes of tensors in the shard after these.
    pub(super) length: u64,
    /// Its tensors.
    pub(super) entries: Vec<Entry>,
    /// The images of all shards.
    pub(super) keys: HashSet<String>,
    /// The shape of a stack's rows.
    pub(super) row: Option<Vec<usize>>,
    /// All shards are sealed, and only their names are missing.
    pub(super) finished: bool,
    /// Where the journal's last good line ends.
    pub(super) end: u64,
}

impl Resumed {
    /// Nothing yet but the journal's first line, which ends at `end`.
    pub(super) fn new(room: usize, end: u64) -> Self {
        Self {
            room,
            sealed: 0,
            length: 0,
            entries: Vec::new(),
            keys: HashSet::new(),
            row: None,
            finished: false,
            end,
        }
    }

    /// Follows a journal; none if it does not even have its first line.
    pub(super) fn from(
        lines: &[(Line, u64)],
        names: &Names,
        layout: &dyn Layout,
        dtype: Dtype,
    ) -> Option<Self> {
        let Some((Line::Start { room, .. }, end)) = lines.first() else { return None };
        if *room > LARGEST_ROOM {
            return None;
        }
        let mut resumed = Self::new(*room, *end);
        // A sealed shard was on disk before its line was written; only what follows the last one can be torn.
        let trusted = lines.iter().rposition(|(line, _)| matches!(line, Line::Sealed { .. })).unwrap_or(0);
        for (position, (line, end)) in lines.iter().enumerate().skip(1) {
            if !resumed.follow(line, position < trusted, names, layout, dtype) {
                break;
            }
            resumed.end = *end;
        }
        Some(resumed)
    }

    /// The state of an archive that is known to be as its journal says.
    pub(super) fn of(lines: &[(Line, u64)], dtype: Dtype) -> Option<Self> {
        let Some((Line::Start { room, .. }, end)) = lines.first() else { return None };
        let mut resumed = Self::new(*room, *end);
        for (line, end) in &lines[1..] {
            if !resumed.take(line, dtype) {
                return None;
            }
            resumed.end = *end;
        }
        Some(resumed)
    }

    /// Takes in one line, if what it says is on disk.
    fn follow(
        &mut self,
        line: &Line,
        trusted: bool,
        names: &Names,
        layout: &dyn Layout,
        dtype: Dtype,
    ) -> bool {
        if let (Line::Image { tensors, crc, .. }, false) = (line, trusted) {
            let path = names.begun_shard(self.sealed + 1);
            let start = layout.data_start(self.room).saturating_add(self.length);
            let found = checksum(&path, start, bytes(tensors, dtype));
            if !found.is_ok_and(|found| found == Some(*crc)) {
                return false;
            }
        }
        self.take(line, dtype)
    }

    /// Takes in one line, which is believed; false if there can be no such line.
    fn take(&mut self, line: &Line, dtype: Dtype) -> bool {
        match line {
            Line::Start { .. } => return false,
            Line::Sealed { .. } => {
                self.sealed += 1;
                self.length = 0;
                self.entries.clear();
            }
            Line::Finished => self.finished = true,
            Line::Image { key, tensors, .. } => {
                self.length = self.length.saturating_add(bytes(tensors, dtype));
                self.keys.insert(key.clone());
                self.row = self.row.take().or_else(|| tensors.first().map(|entry| entry.shape.clone()));
                self.entries.extend(tensors.iter().cloned());
            }
        }
        true
    }
}

/// What tensors take in a file.
fn bytes(tensors: &[Entry], dtype: Dtype) -> u64 {
    tensors.iter().map(|entry| entry.bytes(dtype)).fold(0, u64::saturating_add)
}
