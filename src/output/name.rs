//! The names that images have inside an archive.

use std::path::{Component, Path, PathBuf};

/// The key of an image: its path with `/` between the parts. Bytes that are no UTF-8, which neither safetensors nor
/// JSON can hold, are written `%XX`.
pub fn key(name: &Path) -> String {
    let parts: Vec<String> =
        name.components().map(|part| escape(part.as_os_str().as_encoded_bytes())).collect();
    parts.join("/")
}

fn escape(bytes: &[u8]) -> String {
    bytes.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// Whether a name leads to a file below the directory that it is given in. Anybody can have written others into a manifest.
pub(crate) fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The path that a key spells, with the bytes that are no UTF-8; a path may be spelled so itself.
#[cfg(unix)]
pub(super) fn spelled(key: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        // No other byte is written so.
        let byte =
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|byte| !byte.is_ascii());
        bytes.push(byte.unwrap_or(first));
        rest = byte.map_or(after, |_| &after[2..]);
    }
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

/// Elsewhere names are text.
#[cfg(not(unix))]
pub(super) fn spelled(key: &str) -> PathBuf {
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_spaces_and_unicode_and_spell_out_other_bytes() {
        assert_eq!(key(Path::new("a dir/bild ü.jpg")), "a dir/bild ü.jpg");
        #[cfg(unix)]
        {
            let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"x/\xff\xfe.jpg");
            assert_eq!(key(Path::new(name)), "x/%FF%FE.jpg");
            assert_eq!(spelled("x/%FF%FE.jpg"), Path::new(name));
            assert_eq!(spelled("100%/%41 ü%.jpg"), Path::new("100%/%41 ü%.jpg"));
        }
    }
}
