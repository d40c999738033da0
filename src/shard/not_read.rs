//! Pictures and tars that are met and not read.

use std::{collections::BTreeMap, fmt, path::Path};

use pillow_exact::Format;
use serde::Serialize;

/// How many there were, by extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct NotRead(BTreeMap<String, u64>);

/// Ends of the names of tars that are packed in other ways than those that are read.
const PACKED: [&str; 8] = ["tar.xz", "txz", "tar.bz2", "tbz2", "tbz", "tar.zst", "tzst", "tar.lz4"];

impl NotRead {
    /// Counts a file if it is a picture or a tar, by its name or by its first bytes, of a kind that is not read.
    pub(crate) fn note(&mut self, path: &Path, start: &[u8]) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let packed =
            PACKED.into_iter().find(|end| name.strip_suffix(end).is_some_and(|stem| stem.ends_with('.')));
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let format = Format::of_extension(extension).or_else(|| Format::of(start));
        let format = format.filter(|format| !format.is_read());
        let kind = packed.map(str::to_owned).or_else(|| match format?.extensions() {
            known if known.iter().any(|known| extension.eq_ignore_ascii_case(known)) => {
                Some(extension.to_ascii_lowercase())
            }
            known => known.first().map(|&known| known.to_owned()),
        });
        if let Some(kind) = kind {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        for (kind, count) in &others.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }

    /// What follows where there is nothing else.
    pub(crate) fn what_else(&self) -> String {
        if self.is_empty() { String::new() } else { format!(", but {self}, which are not read") }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// `3 .heic, 2 .avif`, the most first.
impl fmt::Display for NotRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} .{kind}")).collect();
        formatter.write_str(&kinds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_by_name_and_by_content() {
        let mut found = NotRead::default();
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0";
        for (name, start) in [
            ("a.HEIC", &b""[..]),
            ("b.heic", heic),
            ("c", heic),
            ("d.jxl", b""),
            ("e.tar.xz", b""),
            ("f.TBZ2", b""),
            ("xz", b""),
            ("notes.txt", b"text"),
            ("g.png", b""),
            ("h.jpg", b"\xff\xd8\xff"),
        ] {
            found.note(Path::new(name), start);
        }
        assert_eq!(found.to_string(), "3 .heic, 1 .jxl, 1 .tar.xz, 1 .tbz2");
        let mut both = found.clone();
        both.add(&found);
        assert_eq!((both.count(), serde_json::to_value(&both).unwrap()["heic"].as_u64()), (12, Some(6)));
    }
}
