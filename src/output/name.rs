//! The names that images have inside an archive.

use std::path::Path;

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
        }
    }
}
