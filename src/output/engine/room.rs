//! How much room a file's head is given before its entries are known.

use crate::output::{
    Contents, TensorSpec,
    collection::Collection,
    layout::Layout,
    manifest::{FileState, Held},
    planned::json_bytes,
};

/// What a file of many images will hold, as far as that is known.
pub(in crate::output) struct Room<'a> {
    pub(in crate::output) layout: &'static dyn Layout,
    pub(in crate::output) contents: &'a Contents,
    /// Bytes of a head that names nothing.
    pub(in crate::output) head: u64,
    /// The most bytes of a file.
    pub(in crate::output) limit: u64,
    /// Bytes of lines in the head, and of entries, that are there already.
    pub(in crate::output) lines: u64,
    pub(in crate::output) data: u64,
    /// The shapes of an image's tensors, as they lie in the file.
    pub(in crate::output) shapes: Vec<Vec<usize>>,
}

/// A file that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) struct Fit {
    /// Where its entries begin.
    pub(in crate::output) start: u64,
    /// How many images more it takes.
    pub(in crate::output) count: usize,
    /// Bytes of all its entries.
    pub(in crate::output) data: u64,
}

impl<'a> Room<'a> {
    /// That of an empty file; none where images share none, or where their shapes depend on the picture.
    pub(in crate::output) fn of(collection: &Collection, contents: &'a Contents) -> Option<Self> {
        let layout = collection.layout()?;
        let shape = |tensor: &TensorSpec| Some(layout.shape(tensor.shape.as_ref()?).to_vec());
        let shapes = contents.tensors.iter().map(shape).collect::<Option<_>>()?;
        let (head, limit) = (layout.head_bytes(contents), collection.limit());
        Some(Self { layout, contents, head, limit, lines: 0, data: 0, shapes })
    }

    /// Of images of these keys and bytes, how many a file takes, and where its entries begin then: its head has room for just those.
    pub(in crate::output) fn fit(&self, images: impl IntoIterator<Item = (u64, u64)>) -> Fit {
        let head = self.head;
        let (mut lines, mut data, mut count) = (self.lines, self.data, 0);
        for (key, bytes) in images {
            let line = self.line(key, data);
            let start = self.layout.start(head + lines + line);
            if start > self.layout.largest_start() || self.end(start, data.saturating_add(bytes)) > self.limit
            {
                break;
            }
            (lines, data, count) = (lines + line, data + bytes, count + 1);
        }
        Fit { start: self.layout.start(head + lines), count, data }
    }

    /// Whether a file whose entries begin at `start` takes these bytes more.
    pub(in crate::output) fn takes(&self, start: u64, bytes: u64) -> bool {
        self.end(start, self.data.saturating_add(bytes)) <= self.limit
    }

    /// Bytes of a file whose entries begin at `start` and have these bytes.
    pub(in crate::output) fn end(&self, start: u64, data: u64) -> u64 {
        start.saturating_add(data).saturating_add(self.layout.end_bytes())
    }

    /// Where entries begin of a file that takes an image of this key and these bytes, and then others that nobody knows yet.
    pub(in crate::output) fn guess(&self, key: u64, bytes: u64) -> u64 {
        /// What is given at first where nothing limits the file.
        const FIRST: u64 = 64 << 10;
        let head = self.head;
        let line = self.line(key, self.data);
        let with = |lines: u64| match line {
            0 => self.layout.start(head),
            _ => self.layout.start(head + self.lines + lines).min(self.layout.largest_start()),
        };
        let least = with(line);
        if self.limit == u64::MAX {
            return least.max(with((2 * self.lines).max(FIRST)));
        }
        // As many as fit if all are like this one, with a little more for their keys.
        let left = self.limit.saturating_sub(self.end(least, self.data));
        let more = left / (bytes + line + 16).max(1);
        let most = self.limit.saturating_sub(self.end(bytes, self.data));
        with(more.max(1) * (line + 16)).min(most / 8 * 8).max(least)
    }

    /// Bytes of an image's line in the head, where it lies `at` among the entries.
    fn line(&self, key: u64, at: u64) -> u64 {
        self.layout.line_bytes(self.contents, key, &mut self.shapes.iter().map(Vec::as_slice), at)
    }
}

/// Bytes of the lines that a file's entries have in its head.
pub(in crate::output) fn lines_of(layout: &'static dyn Layout, contents: &Contents, file: &FileState) -> u64 {
    let mut at = 0;
    let mut line = |held: &Held| {
        let shapes = &mut held.shapes.iter().map(|shape| &**shape);
        let line = layout.line_bytes(contents, json_bytes(&held.key), shapes, at);
        at += held.length;
        line
    };
    file.held.iter().map(&mut line).sum()
}
