//! The lines of a manifest.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::output::{Defect, Metadata, name::is_inside};

/// The version of what is written here. A newer one is refused.
pub(super) const VERSION: u32 = 1;

/// A line longer than that of an image with a hundred tensors and the longest name counts as garbled.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::output) enum Line {
    /// The first line: what every output of this place is made with.
    Manifest(Head),
    /// A run begins to write.
    Begin {
        /// Who writes.
        tool_version: String,
        /// What the run computes with; machines differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compute: Option<String>,
    },
    /// A file of many entries is to be made, and may be on its way; nothing of it is there that lasts.
    Next { file: String },
    /// A file of many entries is begun, or begun anew.
    File {
        /// Its name, from where the manifest is.
        file: String,
        /// Bytes before its entries.
        start: u64,
        /// How many entries it takes over of what had the name before; later ones are void.
        #[serde(default)]
        held: usize,
    },
    /// An image is in its file, or in files of its own.
    Entry(Entry),
    /// An image that is written was read again, and is as it was but for its time.
    Input { key: String, input: InputFacts },
    /// An image has no features, and why.
    Failed(Failed),
    /// A tar among the inputs was read to its end.
    Tar(TarRead),
    /// A file of many entries is whole and has its name.
    Sealed { file: String, length: u64 },
    /// A file that was begun will not be made whole: what it held beyond what has the name is void.
    Dropped { file: String },
    /// A run has come to its end.
    End(End),
}

/// What every output of a place is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(in crate::output) version: u32,
    /// How entries lie in files: `npy`, `safetensors`, `tar` or `png`, and `directory of` one of them.
    pub(crate) layout: String,
    /// The tensors of an entry, in order.
    pub(crate) tensors: Vec<String>,
    /// Whether outputs are named for images with their extensions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::output) keep_extension: bool,
    pub(crate) settings: Metadata,
}

impl Head {
    pub(in crate::output) fn new(
        layout: String,
        tensors: Vec<String>,
        keep_extension: bool,
        settings: Metadata,
    ) -> Self {
        Self { version: VERSION, layout, tensors, keep_extension, settings }
    }
}

/// An image that is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The image's path below the input that it came from; of a tar's member the tar's path and the member's.
    pub(crate) key: String,
    pub(crate) input: InputFacts,
    /// What a tar calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<String>,
    /// Where it lies: in one place, or where each tensor has a file, in one for each.
    pub(crate) at: Vec<Place>,
    /// The tensors' shapes, in order.
    pub(crate) shapes: Vec<Vec<usize>>,
    /// What reports say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<Box<RawValue>>,
}

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its name, from where the manifest is.
    pub(crate) file: String,
    /// Where they begin, from the file's first entry on.
    #[serde(default)]
    pub(crate) offset: u64,
    pub(crate) length: u64,
    #[serde(with = "hexadecimal")]
    pub(crate) crc32: u32,
}

/// An input as it was when it was read.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// let features = clip_features::features::open(path)?;
/// let input = features.record(0)?.input;
/// assert!(input.path.ends_with("cat.ppm"));
/// assert_eq!(input.bytes, Some(14));
/// assert!(input.sha256.is_some()); // tells whether the image has changed since
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFacts {
    /// As it was given.
    pub path: String,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When it was last changed, in nanoseconds of Unix time; none of what has no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<i64>,
    /// Of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Bytes>,
}

/// A digest, in JSON as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Bytes(pub [u8; 32]);

/// An image that has no features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its path below the input that it came from; of a tar's member the tar's path and the member's.
    pub key: String,
    /// The key of the tar that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar: Option<String>,
    /// What was read of it.
    pub input: InputFacts,
    /// Where it failed.
    pub stage: String,
    /// What is wrong with its own bytes, if they are to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<Defect>,
    /// Why it failed, in words.
    pub reason: String,
}

/// A tar among the inputs that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TarRead {
    /// Its path below the input that it came from.
    pub key: String,
    /// As it was when it was opened.
    pub input: InputFacts,
    /// Where and how it is damaged, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::output) enum End {
    /// All inputs were looked at.
    Complete,
    /// It was stopped before.
    Stopped,
}

/// What ends a line, but for the digits.
const CHECK: &[u8] = br#","crc32":""#;
const DIGITS: usize = 8;
const CHECK_LENGTH: usize = CHECK.len() + DIGITS + br#""}"#.len();

impl Line {
    /// A name of it that leads out of the directory where the manifest is: nobody writes such here, and anybody could.
    pub(super) fn leads_outside(&self) -> Option<&str> {
        let is_outside = |name: &&str| !is_inside(name);
        match self {
            Self::File { file, .. }
            | Self::Next { file }
            | Self::Sealed { file, .. }
            | Self::Dropped { file } => Some(file.as_str()).filter(is_outside),
            Self::Entry(entry) => entry.at.iter().map(|place| place.file.as_str()).find(is_outside),
            _ => None,
        }
    }

    /// The line's bytes, with its check and the line feed.
    pub(in crate::output) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a line has only string keys");
        let check = crc32fast::hash(&bytes);
        bytes.pop();
        bytes.extend(CHECK);
        bytes.extend(format!("{check:08x}\"}}\n").bytes());
        bytes
    }

    /// Reads a line without its line feed; none if it is not as it was written.
    pub(in crate::output) fn decode(line: &[u8]) -> Option<Self> {
        let body = checked(line)?;
        serde_json::from_slice(&[body, b"}"].concat()).ok()
    }
}

/// What of a line, without its line feed, the check is of, but for the brace at its end; none if it does not fit.
pub(super) fn checked(line: &[u8]) -> Option<&[u8]> {
    let (body, check) = line.split_at_checked(line.len().checked_sub(CHECK_LENGTH)?)?;
    let digits = check.strip_prefix(CHECK)?.strip_suffix(br#""}"#)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(b"}");
    let found = hasher.finalize();
    // As it is written: eight small digits.
    let digit = |place: usize| b"0123456789abcdef"[(found >> (28 - 4 * place)) as usize & 15];
    (digits.len() == DIGITS && digits.iter().enumerate().all(|(place, &found)| found == digit(place)))
        .then_some(body)
}

/// Numbers of 32 bits as eight digits.
mod hexadecimal {
    use super::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:08x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        u32::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

impl Serialize for Sha256Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(HEX[usize::from(byte >> 4)].into());
            text.push(HEX[usize::from(byte & 15)].into());
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Sha256Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let digits = text.as_bytes().as_chunks::<2>().0;
        if text.len() != 2 * bytes.len() {
            return Err(de::Error::custom("a SHA-256 has 64 digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits) {
            let pair = std::str::from_utf8(pair).map_err(de::Error::custom)?;
            *byte = u8::from_str_radix(pair, 16).map_err(de::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_as_it_was_written_is_none() {
        let place = Place { file: "x.npy".into(), offset: 4, length: 8, crc32: 0xabc };
        let input = InputFacts {
            path: "a \"b\".png".into(),
            bytes: Some(7),
            modified_ns: Some(-5),
            sha256: Some(Sha256Bytes([0xa5; 32])),
        };
        let facts = RawValue::from_string(r#"{"grid":[1,2]}"#.into()).unwrap();
        let entry = Entry {
            key: "b.png".into(),
            input,
            sample: None,
            at: vec![place],
            shapes: vec![vec![1, 2]],
            facts: Some(facts),
        };
        let line = Line::Entry(entry).encode();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(
            text.starts_with(r#"{"entry":{"key":"b.png","input":{"path":"a \"b\".png","bytes":7"#),
            "{text}"
        );
        assert!(text.contains(r#""crc32":"00000abc"}],"shapes":[[1,2]],"facts":{"grid":[1,2]}}"#), "{text}");
        serde_json::from_str::<serde_json::Value>(text).expect("a line is JSON");
        let bare = &line[..line.len() - 1];
        let Some(Line::Entry(found)) = Line::decode(bare) else { panic!("{text}") };
        assert_eq!(found.input.sha256, Some(Sha256Bytes([0xa5; 32])));
        assert_eq!(Line::Entry(found).encode(), line);
        for place in 0..bare.len() {
            let mut other = bare.to_vec();
            other[place] ^= 1;
            assert!(Line::decode(&other).is_none(), "byte {place}");
            assert!(Line::decode(&bare[..place]).is_none(), "cut at {place}");
        }
    }
}
