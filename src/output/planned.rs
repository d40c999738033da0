//! What is known of the images to come.

/// The images that are to be written, as far as they are known in advance, in order; 8 bytes an image.
#[derive(Clone, Debug, Default)]
pub struct Planned(Vec<[u32; 2]>);

impl Planned {
    /// Adds an image: its key, and the name that it would get in a tar.
    pub fn add(&mut self, key: &str, sample: &str) {
        self.0.push([json_bytes(key) as u32, sample.len() as u32]);
    }

    /// Passes over those up to a place, of which something is there already.
    pub fn pass_to(&mut self, place: usize) {
        self.0.resize(place.max(self.0.len()), [0, 0]);
    }

    /// How many are to be written.
    pub fn len(&self) -> usize {
        self.from(0).count()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.from(0).next().is_none()
    }

    /// From a place on, of each image the bytes of its key as JSON, and of its name in a tar.
    pub(super) fn from(&self, place: usize) -> impl Iterator<Item = (u64, u64)> {
        // No key's JSON is shorter than its quotation marks.
        let is_written = |[key, _]: &&[u32; 2]| *key > 0;
        self.0.iter().skip(place).filter(is_written).map(|&[key, sample]| (key.into(), sample.into()))
    }
}

/// The bytes of a text as JSON.
pub(super) fn json_bytes(text: &str) -> u64 {
    (text.len() + 2 + text.bytes().map(escape).sum::<usize>()) as u64
}

/// The bytes that JSON adds to one.
fn escape(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_as_much_as_json_gives_them() {
        let mut planned = Planned::default();
        let keys = ["a/b.jpg", "ü\"\\\n\u{1}\u{7f}", "\u{8}\u{c}\t\r/", "桜"];
        keys.iter().for_each(|key| planned.add(key, "x"));
        let lengths: Vec<u64> = planned.from(0).map(|(key, _)| key).collect();
        assert_eq!(lengths, keys.map(|key| serde_json::to_string(key).unwrap().len() as u64));
    }
}
