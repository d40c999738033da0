//! Why a text is no JSON, in plain words.

use serde_json::Error;

/// What is wrong with a text that was refused with this error. Python writes what no JSON has, and reads it again.
pub(crate) fn reason(text: &[u8], error: &Error) -> String {
    if text.trim_ascii().is_empty() {
        return "is empty, expected JSON".into();
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return "begins with a byte order mark, which is no JSON: save it as UTF-8 without one".into();
    }
    let line = text.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let from = error.column().saturating_sub(1).min(line.len());
    // The error's place is that of the first letter.
    for word in ["NaN", "Infinity"] {
        if line[from..].starts_with(word.as_bytes()) {
            return format!(
                "not valid JSON: {word} at line {} column {}, which Python writes and JSON does not have: put a number or null",
                error.line(),
                error.column()
            );
        }
    }
    format!("not valid JSON: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_plainly() {
        for (text, part) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("\u{feff}{}", "byte order mark"),
            ("{\"a\": 1,\n \"b\": NaN}", "NaN at line 2 column 7"),
            ("{\"a\": Infinity}", "Infinity at line 1"),
            ("{\"a\": [1, -Infinity]}", "Infinity at line 1"),
            ("{\"a\": NULL}", "not valid JSON: expected value at line 1 column 7"),
            ("{", "not valid JSON: EOF"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            let found = reason(text.as_bytes(), &error);
            assert!(found.contains(part), "{text:?}: {found}");
        }
    }
}
