//! A shard as a stream of samples, of which one at a time is in memory.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    ops::ControlFlow,
    path::Path,
};

use pillow_exact::{Format, kind_of};
use tar::{Archive, EntryType, Header};

use super::{
    group::{Found, Group, Unusable},
    names::{inner_path, split},
    not_read::NotRead,
    sample::Selection,
    unpacked::{GZIP, Unpacked},
    writer::padded,
};

/// Headers that extend a member's own, with a long name and the like, may take this much together. They are read whole.
pub(super) const LARGEST_EXTENSIONS: u64 = 4 << 20;

/// What is to be said of a shard that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct End {
    /// Links, devices and sparse members.
    pub passed_over: u64,
    /// Pictures that are not read.
    pub not_read: NotRead,
    /// Whether another tar follows, which is not read.
    pub is_followed: bool,
    /// Whether it is whole, and none of its samples has an image.
    pub is_empty: bool,
    /// Where and how it is damaged, or why it could not be read.
    pub damage: Option<Unusable>,
}

impl End {
    /// Of a shard that cannot be read.
    pub(crate) fn unread(reason: String) -> Self {
        Self { damage: Some(Unusable::Unreadable(reason)), ..Self::default() }
    }
}

/// Whether a stream that begins so is a tar, or a compressed one.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    if start.starts_with(&GZIP) {
        return true;
    }
    start.get(..512).is_some_and(is_header)
}

/// What something else is that has a tar's name; none of a tar, and where it is not known.
fn not_a_tar(start: &[u8]) -> Option<&'static str> {
    // One without members is zeros.
    if is_tar(start) || start.iter().all(|&byte| byte == 0) {
        return None;
    }
    kind_of(start).or_else(|| Format::of(start).map(Format::name))
}

/// Whether a block is a header, by its checksum.
pub(super) fn is_header(block: &[u8]) -> bool {
    let header = Header::from_byte_slice(block);
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    // The checksum counts its own field as spaces.
    header.cksum().is_ok_and(|cksum| cksum == sum(&block[..148]) + 8 * 32 + sum(&block[156..]))
}

/// Reads a shard to its end, or until `on` breaks, and gives `on` the image of each sample that has one.
///
/// What stands before damage is given. A shard without the mark that ends a tar counts as damaged, as it may have been cut.
pub(crate) fn read(
    source: impl Read,
    shard: &Path,
    selection: &Selection,
    on: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> End {
    let (has_failed, mut end) = (Cell::new(false), End::default());
    let source = Watched { inner: source, has_failed: &has_failed };
    let damage = read_samples(source, shard, selection, on, &mut end);
    let kind = if has_failed.get() { Unusable::Unreadable } else { Unusable::Damaged };
    End { damage: damage.map(kind), ..end }
}

/// Where and how it is damaged.
fn read_samples(
    source: impl Read,
    shard: &Path,
    selection: &Selection,
    on: &mut dyn FnMut(Found) -> ControlFlow<()>,
    end: &mut End,
) -> Option<String> {
    let mut count = 0;
    let on = &mut |found| {
        count += 1;
        on(found)
    };
    let (position, limit) = (Cell::new(0), Cell::new(u64::MAX));
    let mut source = BufReader::with_capacity(1 << 18, source);
    if let Some(kind) = source.fill_buf().ok().and_then(not_a_tar) {
        return Some(format!("{kind}, not a tar, plain or packed with gzip"));
    }
    let inner = match Unpacked::new(source) {
        Ok(Some(inner)) => inner,
        Ok(None) => return Some("is empty".into()),
        Err(error) => return Some(error.to_string()),
    };
    let mut archive = Archive::new(Counted { inner, position: &position, limit: &limit });
    let mut group = Group::default();
    // Where the next header should stand.
    let mut next = 0;
    let mut walk = || -> io::Result<ControlFlow<()>> {
        let mut entries = archive.entries()?;
        loop {
            // The rest of the member before is passed over, and headers that extend the next one's are read whole.
            limit.set(LARGEST_EXTENSIONS.saturating_add(next));
            let Some(entry) = entries.next() else { break };
            let mut entry = entry?;
            limit.set(u64::MAX);
            let is_file = matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous);
            if is_file {
                let path = entry.path().map(|path| inner_path(&path))?;
                if let Some((key, extension)) = split(&path) {
                    if key != group.key {
                        let whole = std::mem::replace(&mut group, Group::of(key));
                        if whole.give(shard, selection, on).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    group.take(path, extension, &mut entry, selection, &mut end.not_read)?;
                }
            } else if !matches!(entry.header().entry_type(), EntryType::Directory | EntryType::XGlobalHeader)
            {
                end.passed_over += 1;
            }
            next = padded(entry.raw_file_position().saturating_add(entry.size()));
        }
        Ok(ControlFlow::Continue(()))
    };
    let walked = walk();
    let read = position.get();
    let mut damage = match walked {
        Ok(ControlFlow::Break(())) => return None,
        Err(error) => Some(format!("is damaged at byte {}: {error}", read.max(next))),
        // At least one block of zeros ends a tar.
        Ok(ControlFlow::Continue(())) if read <= next => {
            Some(format!("ends at byte {read} without the mark of its end, as if it had been cut"))
        }
        Ok(ControlFlow::Continue(())) => None,
    };
    // Of a damaged shard, the last sample may lack what is to be carried over.
    if damage.is_none() || group.has_all(selection) {
        let _ = group.give(shard, selection, on); // nothing follows
    }
    if damage.is_none() {
        let mut inner = archive.into_inner().inner;
        let checked = is_followed(&mut inner).and_then(|is_followed| {
            end.is_followed = is_followed;
            inner.check()
        });
        damage = checked.err().map(|error| format!("is damaged at byte {read}: {error}"));
    }
    end.is_empty = damage.is_none() && count == 0;
    damage
}

/// Whether a tar stands behind the end of one and the zeros that pad it, as `cat` puts it there.
fn is_followed(rest: &mut impl Read) -> io::Result<bool> {
    /// More than any blocking factor pads a tar to.
    const FARTHEST: u64 = 1 << 20;
    let mut rest = rest.take(FARTHEST);
    let mut block = [0; 512];
    loop {
        match rest.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if block != [0; 512] {
            return Ok(is_header(&block));
        }
    }
}

/// A reader that remembers whether it has failed.
struct Watched<'a, R> {
    inner: R,
    has_failed: &'a Cell<bool>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.has_failed.set(true);
        }
        read
    }
}

/// A reader that says how far it is, and goes no further than it may.
struct Counted<'a, R> {
    inner: R,
    position: &'a Cell<u64>,
    limit: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.limit.get().saturating_sub(self.position.get());
        if room == 0 && !buffer.is_empty() {
            let reason =
                format!("a member's extended header is larger than {} MiB", LARGEST_EXTENSIONS >> 20);
            return Err(io::Error::other(reason));
        }
        let most = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::Builder;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

    fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            // The builder refuses what an attacker would write.
            header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).expect("memory");
        }
        builder.into_inner().expect("memory")
    }

    fn samples(bytes: &[u8], selection: &Selection) -> (Vec<(String, String, bool, usize)>, End) {
        let mut found = Vec::new();
        let end =
            read(bytes, Path::new("s.tar"), selection, &mut |Found { member, image, sample, .. }| {
                let member = member.display().to_string();
                found.push((sample.key, member, image.is_ok(), sample.kept.len()));
                ControlFlow::Continue(())
            });
        (found, end)
    }

    fn selection(image_keys: &[&str], keep: &[&str]) -> Selection {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Selection { image_keys: owned(image_keys), keep: owned(keep) }
    }

    #[test]
    fn members_of_one_key_are_a_sample() {
        let bytes = shard(&[
            ("./d/a.jpg", b"x"),
            ("./d/a.txt", b"a cat"),
            ("./d/a.json", b"{}"),
            ("/etc/../b", PNG),
            ("c.txt", b"no image"),
            ("._d.jpg", b"x"),
            ("e.seg.png", b"x"),
        ]);
        let (found, end) = samples(&bytes, &selection(&[], &["txt"]));
        let expect = |key: &str, member: &str, kept| (key.to_owned(), member.to_owned(), true, kept);
        assert_eq!(
            found,
            [expect("d/a", "d/a.jpg", 1), expect("etc/b", "etc/b", 0), expect("e", "e.seg.png", 0)]
        );
        assert_eq!(end, End::default());
        assert!(
            is_tar(&bytes) && !is_tar(PNG) && !is_tar(&[0; 512]),
            "a picture that was overwritten is none"
        );
    }

    #[test]
    fn of_several_images_one_must_be_named() {
        let bytes =
            shard(&[("a.png", b"1"), ("a.jpg", b"2"), ("b.png", b"3"), ("c.webp", b"4"), ("d.png", b"")]);
        let (found, _) = samples(&bytes, &selection(&[], &[]));
        assert_eq!(found.iter().map(|(_, _, good, _)| *good).collect::<Vec<_>>(), [false, true, true, false]);
        let (found, _) = samples(&bytes, &selection(&["jpg", "png"], &[]));
        let members: Vec<_> = found.iter().map(|(_, member, ..)| member.as_str()).collect();
        assert_eq!(members, ["a.jpg", "b.png", "d.png"]);
    }

    #[test]
    fn an_extended_header_without_end_is_damage() {
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        builder.append(&header, io::empty()).expect("memory");
        let start = builder.get_ref()[..512].to_vec();
        // A terabyte of name, of which only so much is taken.
        let endless = start.chain(io::repeat(b'a'));
        let end =
            read(endless, Path::new("s.tar"), &Selection::default(), &mut |_| ControlFlow::Continue(()));
        assert!(end.damage.expect("damage").reason().contains("extended header is larger than 4 MiB"));
    }

    #[test]
    fn a_member_of_any_announced_size_is_the_end() {
        let mut header = Header::new_gnu();
        header.set_size(u64::MAX);
        header.set_cksum();
        let (found, end) = samples(header.as_bytes(), &Selection::default());
        assert_eq!(found.len(), 0);
        assert!(end.damage.is_some());
    }

    #[test]
    fn a_sample_of_many_images_takes_no_memory_for_each() {
        let members: Vec<(String, &[u8])> = (0..500).map(|index| (format!("a.{index}.png"), PNG)).collect();
        let members: Vec<(&str, &[u8])> =
            members.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        let (found, _) = samples(&shard(&members), &Selection::default());
        assert_eq!(found, [("a".to_owned(), "a.0.png".to_owned(), false, 0)]);
    }

    #[test]
    fn a_disk_that_fails_is_told_from_damage() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no disk"))
            }
        }
        let good = shard(&[("a.jpg", &[7; 1000])]);
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(&good[..], flate2::Compression::none())
            .read_to_end(&mut packed)
            .expect("memory");
        for bytes in [&good, &packed] {
            for cut in [0, 1, 700, 1100] {
                let end =
                    |source: &mut dyn Read| {
                        read(source, Path::new("s.tar"), &Selection::default(), &mut |_| {
                            ControlFlow::Continue(())
                        })
                    };
                let unread = end(&mut bytes[..cut].chain(Failing));
                assert!(matches!(unread.damage, Some(Unusable::Unreadable(_))), "{cut}: {unread:?}");
                let damaged = end(&mut &bytes[..cut]);
                assert!(matches!(damaged.damage, Some(Unusable::Damaged(_))), "{cut}: {damaged:?}");
            }
        }
    }

    #[test]
    fn links_are_passed_over() {
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "a.jpg", "/etc/passwd").expect("memory");
        let bytes = builder.into_inner().expect("memory");
        let (found, end) = samples(&bytes, &Selection::default());
        assert_eq!((found.len(), end), (0, End { passed_over: 1, is_empty: true, ..End::default() }));
    }

    #[test]
    fn what_stands_before_damage_is_given_and_the_damage_told() {
        let good = shard(&[("a.jpg", &[7; 1000]), ("b.jpg", &[8; 1000]), ("c.jpg", &[9; 1000])]);
        let mut before = 0;
        for cut in (0..good.len() - 1023).step_by(64) {
            let (found, end) = samples(&good[..cut], &Selection::default());
            assert!(end.damage.is_some(), "cut at {cut}");
            assert!(found.len() >= before && found.len() <= cut / 1536, "cut at {cut}");
            before = found.len();
        }
        assert_eq!(before, 3);
        let mut flipped = good.clone();
        flipped[1536 + 3] ^= 1;
        let (found, end) = samples(&flipped, &Selection::default());
        assert_eq!(found.len(), 1);
        assert!(end.damage.expect("a checksum").reason().contains("byte 2048"));
    }

    #[test]
    fn a_compressed_shard_is_the_same() {
        let good = shard(&[("a.jpg", &[7; 1000]), ("b.jpg", &[8; 1000])]);
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(&good[..], flate2::Compression::fast())
            .read_to_end(&mut packed)
            .expect("memory");
        assert!(is_tar(&packed));
        assert_eq!(samples(&packed, &Selection::default()), samples(&good, &Selection::default()));
        for cut in [1, 20] {
            let cut = &packed[..packed.len() - cut];
            assert!(samples(cut, &Selection::default()).1.damage.is_some());
        }
        packed.extend(b"what gunzip passes over");
        assert_eq!(samples(&packed, &Selection::default()), samples(&good, &Selection::default()));
    }

    #[test]
    fn a_compressed_shard_of_another_checksum_is_damaged() {
        let good = shard(&[("a.jpg", &[7; 1000]), ("b.jpg", &[8; 1000])]);
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(&good[..], flate2::Compression::none())
            .read_to_end(&mut packed)
            .expect("memory");
        // As they are stored, they are found.
        let at = packed.windows(100).position(|bytes| bytes == [8; 100]).expect("they are stored");
        packed[at..at + 100].fill(0);
        let (found, end) = samples(&packed, &Selection::default());
        assert_eq!(found.len(), 2, "what came before is kept");
        assert!(end.damage.expect("a checksum").reason().starts_with("is damaged at byte 35"));
    }

    #[test]
    fn what_is_kept_may_be_empty_and_costs_its_own_sample_where_it_is_too_large() {
        let selection = selection(&[], &["txt"]);
        let bytes = shard(&[("a.jpg", b"x"), ("a.txt", b""), ("b.jpg", b"x")]);
        assert_eq!(samples(&bytes, &selection).0[0], ("a".to_owned(), "a.jpg".to_owned(), true, 1));

        let size = (2 << 30) + 1;
        let mut header = Header::new_gnu();
        header.set_path("b.txt").expect("it is short");
        header.set_size(size);
        header.set_cksum();
        let start = bytes[..bytes.len() - 1024].chain(&header.as_bytes()[..]);
        let rest = shard(&[("c.jpg", b"x")]);
        let mut found = Vec::new();
        let large = start.chain(io::repeat(0).take(padded(size))).chain(&rest[..]);
        let end = read(large, Path::new("s.tar"), &selection, &mut |one| {
            found.push((one.member, one.image));
            ControlFlow::Continue(())
        });
        assert_eq!(end, End::default());
        let [(_, Ok(_)), (b, Err(Unusable::Damaged(reason))), (_, Ok(_))] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(b, Path::new("b.jpg"));
        assert_eq!(reason, "its sample's txt is to be kept, and is larger than 2 GiB");
    }
}
