//! A tar, member by member, with owner, mode and time fixed.

use std::io::{self, Write};

use tar::{EntryType, Header};

/// What a tar is made of.
pub(super) const BLOCK: u64 = 512;

/// The bytes of the mark that ends a tar.
pub(crate) const END: u64 = 2 * BLOCK;

/// A number of bytes with the padding that follows them.
pub(crate) fn padded(bytes: u64) -> u64 {
    // What is read of a header can be any number.
    bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// The name under which a tar made here says what it is, in the global header that readers pass over.
pub(super) const SETTINGS: &str = "CLIPFEATURES.settings";

/// Writes members one after the other; what is given is written at once, nothing is gathered.
#[derive(Debug)]
pub(crate) struct TarWriter<W> {
    inner: W,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner }
    }

    /// Writes what the tar says of itself, before its members.
    pub(crate) fn settings(&mut self, text: &str) -> io::Result<()> {
        self.extension(EntryType::XGlobalHeader, "pax_global_header", &record(SETTINGS, text))
    }

    /// The bytes of that.
    pub(crate) fn settings_bytes(text: &str) -> u64 {
        BLOCK + padded(record(SETTINGS, text).len() as u64)
    }

    /// Writes a member of `size` bytes, which `write` gives.
    pub(crate) fn member(
        &mut self,
        name: &str,
        size: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut header = header(EntryType::Regular, size);
        if name.len() as u64 > NAME || header.set_path(name).is_err() {
            self.extension(EntryType::XHeader, "PaxHeaders/path", &record("path", name))?;
            header.set_path(short(name))?;
        }
        self.block(&mut header)?;
        write(&mut self.inner)?;
        self.pad(size)
    }

    /// Writes the mark of the end.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.inner.write_all(&[0; END as usize])?;
        self.inner.flush()
    }

    pub(crate) fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    fn extension(&mut self, kind: EntryType, name: &str, record: &str) -> io::Result<()> {
        let mut header = header(kind, record.len() as u64);
        header.set_path(name)?;
        self.block(&mut header)?;
        self.inner.write_all(record.as_bytes())?;
        self.pad(record.len() as u64)
    }

    fn block(&mut self, header: &mut Header) -> io::Result<()> {
        header.set_cksum();
        self.inner.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.inner.write_all(&[0; BLOCK as usize][..(padded(size) - size) as usize])
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// Bytes of a name that the header's own field takes. Longer ones have an extended header, even if they could be split for it.
const NAME: u64 = 100;

/// The bytes of a member, given those of its name and of its content.
pub(crate) fn member_bytes(name: u64, size: u64) -> u64 {
    let extension = if name > NAME { BLOCK + padded(counted(name + " path=\n".len() as u64)) } else { 0 };
    (extension + BLOCK).saturating_add(padded(size))
}

/// The length of a record that counts itself, given that of all but the number.
fn counted(rest: u64) -> u64 {
    let mut length = rest;
    while length != rest + u64::from(length.ilog10()) + 1 {
        length = rest + u64::from(length.ilog10()) + 1;
    }
    length
}

/// What stands in the header's field where the name is in an extended header: letters that any reader takes, of the name's end.
fn short(name: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
    let base = name.rsplit('/').next().unwrap_or_default();
    let letters: String = base.chars().filter(plain).take(90).collect();
    if letters.is_empty() { "member".into() } else { letters }
}

/// A record of a PAX header: its own length in bytes, a space, key, `=`, value, a line feed.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    format!("{}{rest}", counted(rest.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_record_counts_itself() {
        assert_eq!(record("path", "x"), "9 path=x\n");
        for length in [80, 85, 90, 91, 92, 93, 94, 990, 991, 992, 993] {
            let record = record("path", &"x".repeat(length));
            assert_eq!(record.split(' ').next().unwrap().parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn members_are_read_back_with_names_of_any_length() {
        let names = [
            "a.npy".to_owned(),
            format!("{}/{}.npy", "d".repeat(200), "ä".repeat(120)),
            // Of these nothing is left that the field takes, or what begins at the root or leads above it.
            format!("写真/{}.npy", "桜".repeat(34)),
            "桜".repeat(40),
            format!("é../{}", "ж".repeat(60)),
            format!("{}/x", "é..".repeat(30)),
            "x".repeat(100),
            "y".repeat(101),
        ];
        let mut writer = TarWriter::new(Vec::new());
        writer.settings("{}").unwrap();
        assert_eq!(writer.get_mut().len() as u64, TarWriter::<Vec<u8>>::settings_bytes("{}"));
        for name in &names {
            let before = writer.get_mut().len() as u64;
            writer.member(name, 3, |writer| writer.write_all(b"abc")).unwrap();
            assert_eq!(writer.get_mut().len() as u64 - before, member_bytes(name.len() as u64, 3), "{name}");
        }
        writer.end().unwrap();
        let bytes = std::mem::take(writer.get_mut());
        assert_eq!(bytes.len() % 512, 0);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.header().entry_type() == EntryType::Regular)
            .map(|mut entry| {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            })
            .collect();
        assert_eq!(found, names.map(|name| (name, "abc".to_owned())));
    }
}
