//! A file of many entries: what its lines come to, and what the disk says of it.

/// A file of many entries, of each of which an `E` is known.
#[derive(Debug)]
pub(crate) struct SharedFile<E> {
    /// Its name, from where the manifest is.
    pub(crate) name: String,
    /// Bytes before its entries, of the one that was begun last.
    pub(crate) start: u64,
    /// Its entries, in the order in which they lie one after the other.
    pub(crate) held: Vec<E>,
    /// The length of the file that has the name; none if there is none.
    pub(crate) sealed: Option<u64>,
    /// Bytes before the entries of that one.
    pub(crate) sealed_start: u64,
    /// Whether it was ever made whole. Until then what has its name is another's.
    pub(crate) is_ours: bool,
    /// The length of the one that had the name before that.
    pub(crate) replaced: Option<u64>,
    /// Whether it grows, beside the one that has the name. How many entries that one has.
    pub(crate) grows_from: Option<usize>,
    /// How often it was begun.
    pub(crate) generation: usize,
    /// Whether entries of it are void that the manifest still speaks of.
    pub(crate) is_torn: bool,
}

/// What the disk has of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDisk {
    /// It grows, and so many of its entries are whole.
    Grows(usize),
    /// It is whole under its name.
    Whole,
    /// It is whole, and a killed run has not given it its name.
    Unnamed,
    /// There is nothing.
    Lost,
    /// What has its name has another length.
    Altered(u64),
}

impl<E> SharedFile<E> {
    /// One that is first spoken of.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            start: 0,
            held: Vec::new(),
            sealed: None,
            sealed_start: 0,
            is_ours: false,
            replaced: None,
            grows_from: None,
            generation: 0,
            is_torn: false,
        }
    }

    /// It is begun, with the first `held` of the entries that it has; gives those that are void.
    pub(super) fn begin(&mut self, start: u64, held: usize) -> Vec<E> {
        self.start = start;
        self.generation += 1;
        self.is_torn = false;
        self.grows_from.get_or_insert(held);
        self.void(held)
    }

    /// It is whole.
    pub(super) fn seal(&mut self, length: u64) {
        self.replaced = self.sealed;
        (self.sealed, self.sealed_start) = (Some(length), self.start);
        (self.grows_from, self.is_ours) = (None, true);
    }

    /// What grows is given up, and what has the name is as it was; gives the entries that are void.
    pub(super) fn give_up(&mut self) -> Vec<E> {
        let Some(before) = self.grows_from.take() else { return Vec::new() };
        self.start = self.sealed_start;
        self.void(before)
    }

    /// Its entries after the first ones, which it has no more.
    pub(super) fn void(&mut self, keep: usize) -> Vec<E> {
        self.held.split_off(keep.min(self.held.len()))
    }

    /// What there is of it, where the file of its name and the one that grows, or waits for the name, have these lengths. `whole` says how
    /// many entries are whole where the latter has so many bytes.
    ///
    /// # Errors
    /// Those of `whole`.
    pub(crate) fn on_disk<R>(
        &self,
        named: Option<u64>,
        partial: Option<u64>,
        whole: impl FnOnce(u64) -> Result<usize, R>,
    ) -> Result<OnDisk, R> {
        if let Some(before) = self.grows_from {
            let there = partial.unwrap_or(0);
            let whole = whole(there)?;
            if there >= self.start && whole >= before {
                return Ok(OnDisk::Grows(whole));
            }
            // What grew is gone; what had the name before is as it was.
        }
        let waits = partial.is_some() && partial == self.sealed;
        Ok(match (self.sealed, named) {
            (None, _) => OnDisk::Lost,
            (Some(length), Some(found)) if found == length => OnDisk::Whole,
            (_, None) if waits => OnDisk::Unnamed,
            (_, None) => OnDisk::Lost,
            // It has its line, and waits for its name, which the one has that it replaces.
            (_, Some(found)) if waits && self.replaced == Some(found) => OnDisk::Unnamed,
            // Or somebody else's.
            (_, Some(found)) => OnDisk::Altered(found),
        })
    }
}
